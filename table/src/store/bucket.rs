//! The bucket: `object_store` neither asks for it nor creates it, so two presigned requests of our own do.

use std::time::Duration;

use object_store::{aws::AmazonS3, path::Path, signer::Signer};
use reqwest::{Client, Method, Response, StatusCode};

use crate::{
    Error,
    config::{DEFAULT_REGION, S3Config},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const SIGNATURE_LIFE: Duration = Duration::from_secs(60);
/// So much of an unexpected answer is shown.
const ANSWER_CHARS: usize = 300;

/// A bucket that may not exist yet.
pub(super) struct Bucket<'a> {
    s3: &'a AmazonS3,
    name: String,
    config: &'a S3Config,
}

impl<'a> Bucket<'a> {
    pub(super) const fn new(s3: &'a AmazonS3, name: String, config: &'a S3Config) -> Self {
        Self { s3, name, config }
    }

    /// The bucket exists and the credentials open it, or an error that says what to do.
    pub(super) async fn ensure(&self) -> Result<(), Error> {
        let answer = self.send(Method::HEAD, String::new()).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND if self.config.create_bucket => self.create().await,
            StatusCode::NOT_FOUND => Err(Error::BucketMissing { bucket: self.name.clone(), endpoint: self.endpoint() }),
            _ => Err(self.unexpected(answer).await),
        }
    }

    async fn create(&self) -> Result<(), Error> {
        let answer = self.send(Method::PUT, self.create_body()).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // Another process was faster.
            StatusCode::CONFLICT => Ok(()),
            _ => Err(self.unexpected(answer).await),
        }
    }

    fn create_body(&self) -> String {
        match self.config.region() {
            DEFAULT_REGION => String::new(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        }
    }

    async fn send(&self, method: Method, body: String) -> Result<Response, Error> {
        let url = self.s3.signed_url(method.clone(), &Path::default(), SIGNATURE_LIFE).await;
        let url = url.map_err(|source| Error::S3Settings { source })?;
        let unreachable = |source: reqwest::Error| Error::Unreachable { endpoint: self.endpoint(), source: source.without_url() };
        let client = Client::builder().timeout(TIMEOUT).build().map_err(unreachable)?;
        client.request(method, url).body(body).send().await.map_err(unreachable)
    }

    async fn unexpected(&self, answer: Response) -> Error {
        let (bucket, endpoint) = (self.name.clone(), self.endpoint());
        let status = answer.status();
        if matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
            return Error::Refused { bucket, endpoint };
        }
        let answer = answer.text().await.unwrap_or_default().chars().take(ANSWER_CHARS).collect();
        Error::Bucket { bucket, endpoint, status: status.as_u16(), answer }
    }

    fn endpoint(&self) -> String {
        match self.config.endpoint.as_str() {
            "" => format!("https://s3.{}.amazonaws.com", self.config.region()),
            endpoint => endpoint.to_owned(),
        }
    }
}
