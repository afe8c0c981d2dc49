//! Where the tables lie: section `[table]` of the settings.

use std::fmt;

use serde::Deserialize;

/// Section `[table]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// A folder (`./data/lake`, created when missing) or `s3://bucket/prefix`. Each table is a folder in it.
    pub url: String,
    /// Used only when `url` begins with `s3://`.
    pub s3: S3Config,
}

/// Section `[table.s3]`. An empty text means "not set": then the endpoint is AWS, and the credentials are those of the machine's role.
#[derive(Clone, Deserialize)]
pub struct S3Config {
    /// `http://127.0.0.1:9000`; empty for AWS.
    pub endpoint: String,
    /// Empty for `us-east-1`; stores other than AWS accept any.
    pub region: String,
    /// The name of the access key.
    pub access_key_id: String,
    /// The secret; never shown.
    pub secret_access_key: String,
    /// Accept an endpoint without TLS.
    pub allow_http: bool,
    /// Create the bucket when it is missing.
    pub create_bucket: bool,
}

/// The region of a store that has none; also the only one that a `CreateBucket` request must not name.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";

impl S3Config {
    pub(crate) fn region(&self) -> &str {
        match self.region.as_str() {
            "" => DEFAULT_REGION,
            region => region,
        }
    }
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &"redacted")
            .field("allow_http", &self.allow_http)
            .field("create_bucket", &self.create_bucket)
            .finish()
    }
}
