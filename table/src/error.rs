//! What can go wrong with the lake, named by what the reader should do next.

use std::{path::PathBuf, sync::Arc};

use deltalake_core::DeltaTableError;

use crate::DataFile;

/// A failure of the store or of a table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `table.url` is neither a folder nor S3.
    #[error("`table.url` = `{url}` is neither a folder nor `s3://bucket/prefix`")]
    Url {
        /// The setting.
        url: String,
    },
    /// The folder cannot be created, read or written.
    #[error("the folder `{}` of the tables cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An endpoint without TLS, which is not allowed.
    #[error("the endpoint `{endpoint}` is not encrypted; use `https://`, or set `table.s3.allow_http` to true")]
    PlainHttp {
        /// The S3 endpoint.
        endpoint: String,
    },
    /// A setting that the S3 client does not accept.
    #[error("the settings in `table.s3` do not fit together")]
    S3Settings {
        /// Why.
        source: object_store::Error,
    },
    /// The bucket does not exist and may not be created.
    #[error("the bucket `{bucket}` does not exist at `{endpoint}`; create it, or set `table.s3.create_bucket` to true")]
    BucketMissing {
        /// The bucket.
        bucket: String,
        /// The S3 endpoint.
        endpoint: String,
    },
    /// S3 does not accept the credentials, or they have no right to the bucket.
    #[error("S3 at `{endpoint}` refuses access to the bucket `{bucket}`; check `table.s3.access_key_id` and `table.s3.secret_access_key`")]
    Refused {
        /// The bucket.
        bucket: String,
        /// The S3 endpoint.
        endpoint: String,
    },
    /// Nothing answers at the endpoint.
    #[error("no S3 server answers at `{endpoint}`; start it, or correct `table.s3.endpoint`")]
    Unreachable {
        /// The S3 endpoint.
        endpoint: String,
        /// Why; without the signed URL.
        source: reqwest::Error,
    },
    /// S3 answers something unexpected about the bucket.
    #[error("S3 at `{endpoint}` answers {status} about the bucket `{bucket}`: {answer}")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// The S3 endpoint.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// The body, shortened.
        answer: String,
    },
    /// The store lacks a property without which commits would be lost.
    #[error(
        "the store at `{location}` cannot hold the tables: {lacks}; use a local folder, AWS S3, MinIO, SeaweedFS, Cloudflare R2 or another \
         store with atomic conditional PUT (Garage and `rclone serve s3` have none)"
    )]
    Unfit {
        /// The store.
        location: String,
        /// What was seen.
        lacks: String,
    },
    /// The object store failed.
    #[error("the object store failed")]
    Store {
        /// Why.
        #[from]
        source: object_store::Error,
    },
    /// The Delta log cannot be read or written.
    #[error("the Delta log of the table `{table}` cannot be used")]
    Log {
        /// The table.
        table: String,
        /// Why.
        source: Box<DeltaTableError>,
    },
    /// The Delta log holds something that Tidemark did not write and cannot use.
    #[error("the table `{table}` holds something foreign: {what}")]
    Foreign {
        /// The table.
        table: String,
        /// What.
        what: String,
    },
    /// The table exists with other columns.
    #[error("the table `{table}` exists with another schema: {difference}; give `table.url` another place, or migrate the table")]
    SchemaDiffers {
        /// The table.
        table: String,
        /// The first difference.
        difference: String,
    },
    /// The rows handed to the writer are not what they should be: a defect in the caller.
    #[error("these rows cannot be written: {what}")]
    Rows {
        /// What is wrong.
        what: String,
    },
    /// Rows cannot be merged or filtered.
    #[error("the rows cannot be merged")]
    Arrow {
        /// Why.
        #[from]
        source: arrow::error::ArrowError,
    },
    /// A data file that cannot be used.
    #[error("the file `{path}` cannot be used")]
    File {
        /// The file.
        path: Arc<str>,
        /// Why.
        source: Box<Self>,
    },
    /// Rows are not what Parquet takes, or bytes are not Parquet.
    #[error("Parquet cannot be written or read")]
    Parquet {
        /// Why.
        #[from]
        source: parquet::errors::ParquetError,
    },
}

impl Error {
    /// The same, and the file where it happened.
    pub(crate) fn in_file(self, file: &DataFile) -> Self {
        Self::File { path: Arc::clone(&file.path), source: Box::new(self) }
    }
}
