//! The object store under the tables: a local folder whose writes are on disk when they return, or S3.

use std::{path::Path as FsPath, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut},
    path::Path,
    prefix::PrefixStore,
};
use reqwest::Url;

use crate::{
    Error,
    config::{Config, S3Config},
};

mod bucket;
mod durable;

use bucket::Bucket;
use durable::Durable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One request, with its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Few and short: whoever commits or reads tries again by itself, and should soon know that the store is down.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// An object store, and the place in it where the tables lie.
#[derive(Clone, Debug)]
pub struct Store {
    /// The whole file system or bucket.
    root: Arc<dyn ObjectStore>,
    /// The lake, as a URL that ends with `/`.
    location: Url,
    /// The lake, as a path in `root`.
    prefix: Path,
}

impl Store {
    /// Opens the store that `config.url` names. A folder is created when missing, a bucket when `config.s3.create_bucket` says so.
    ///
    /// # Errors
    /// One that says what to do: a URL of another kind, an unusable folder, no server, refused credentials, a missing bucket.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        match Self::folder(config) {
            Some(folder) => Self::open_folder(folder),
            None => Self::open_s3(Lake::of(config)?, &config.s3).await,
        }
    }

    /// Whether [`open`](Self::open) could work at all, whatever the store is. Looks at no store.
    ///
    /// # Errors
    /// A URL of another kind, or settings of S3 that cannot be.
    pub fn check(config: &Config) -> Result<(), Error> {
        match Self::folder(config) {
            Some(_) => Ok(()),
            None => s3_client(&Lake::of(config)?.bucket, &config.s3).map(drop),
        }
    }

    /// Opens the store as it is: `None` when its folder or bucket does not exist. Nothing is created.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn open_existing(config: &Config) -> Result<Option<Self>, Error> {
        let s3 = S3Config { create_bucket: false, ..config.s3.clone() };
        match Self::folder(config) {
            Some(folder) if !folder.exists() => Ok(None),
            _ => match Self::open(&Config { s3, ..config.clone() }).await {
                Err(Error::BucketMissing { .. }) => Ok(None),
                opened => opened.map(Some),
            },
        }
    }

    /// The folder that `config.url` names; `None` when it names something else.
    #[must_use]
    pub fn folder(config: &Config) -> Option<&FsPath> {
        match config.url.split_once("://") {
            Some(("file", path)) => Some(FsPath::new(path)),
            Some(_) => None,
            None => Some(FsPath::new(&config.url)),
        }
    }

    /// The store, rooted at the lake: `events/event_date=…/….parquet` is a file of the table `events`.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.below(self.prefix.clone())
    }

    /// The same place through another store: a decorator that counts, delays or fails requests.
    #[must_use]
    pub fn decorated(self, decorate: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { root: decorate(self.root), ..self }
    }

    /// The lake, for messages: `file:///…/` or `s3://bucket/prefix/`.
    #[must_use]
    pub fn location(&self) -> &str {
        self.location.as_str()
    }

    /// The whole file system or bucket; [`Self::table_location`] is a URL in it.
    pub(crate) fn root(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.root)
    }

    /// The store, rooted at a table.
    pub(crate) fn table_store(&self, table: &str) -> Arc<dyn ObjectStore> {
        self.below(self.prefix.clone().join(table))
    }

    /// A table's URL; ends with `/`.
    pub(crate) fn table_location(&self, table: &str) -> Url {
        let mut location = self.location.clone();
        location.path_segments_mut().expect("file and s3 URLs have a path").pop_if_empty().push(table).push("");
        location
    }

    fn below(&self, prefix: Path) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(Arc::clone(&self.root), prefix))
    }

    fn open_folder(path: &FsPath) -> Result<Self, Error> {
        let unusable = |source| Error::Folder { path: path.to_owned(), source };
        let folder = durable::create_folder(path).map_err(unusable)?;
        let location = Url::from_directory_path(&folder).expect("a canonical path is absolute");
        let prefix = Path::from_url_path(location.path()).map_err(object_store::Error::from)?;
        Ok(Self { root: Arc::new(Durable::new(folder)), location, prefix })
    }

    async fn open_s3(Lake { bucket, location, prefix }: Lake, config: &S3Config) -> Result<Self, Error> {
        let s3 = s3_client(&bucket, config)?;
        Bucket::new(&s3, bucket, config).ensure().await?;
        Ok(Self { root: Arc::new(s3), location, prefix })
    }
}

/// The place in S3 that `table.url` names.
struct Lake {
    bucket: String,
    location: Url,
    prefix: Path,
}

impl Lake {
    fn of(config: &Config) -> Result<Self, Error> {
        Self::parse(&config.url).ok_or_else(|| Error::Url { url: config.url.clone() })
    }

    fn parse(url: &str) -> Option<Self> {
        let mut location = Url::parse(url).ok().filter(|url| url.scheme() == "s3")?;
        let bucket = location.host_str().filter(|name| !name.is_empty())?.to_owned();
        let prefix = Path::from_url_path(location.path()).ok()?;
        location.set_path(&format!("{prefix}/"));
        Some(Self { bucket, location, prefix })
    }
}

fn s3_client(bucket: &str, config: &S3Config) -> Result<AmazonS3, Error> {
    if config.endpoint.starts_with("http://") && !config.allow_http {
        return Err(Error::PlainHttp { endpoint: config.endpoint.clone() });
    }
    let client =
        ClientOptions::new().with_allow_http(config.allow_http).with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(config.region())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client)
        .with_retry(RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT });
    if !config.endpoint.is_empty() {
        builder = builder.with_endpoint(&config.endpoint);
    }
    if !config.access_key_id.is_empty() {
        builder = builder.with_access_key_id(&config.access_key_id).with_secret_access_key(&config.secret_access_key);
    }
    builder.build().map_err(|source| Error::S3Settings { source })
}
