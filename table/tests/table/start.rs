//! What a wrong `[table]` section says at the start.

use table::{Config, Error, Store};

use crate::lake::Lake;

async fn refused(config: &Config) -> Error {
    Store::open(config).await.unwrap_err()
}

#[tokio::test]
async fn a_missing_bucket_is_named_with_the_setting_that_creates_it() {
    let mut lake = Lake::s3().await;
    lake.config.s3.create_bucket = false;
    let error = refused(&lake.config).await;
    assert!(matches!(error, Error::BucketMissing { .. }), "{error:?}");
    assert!(error.to_string().starts_with("the bucket `lake-") && error.to_string().contains("table.s3.create_bucket"), "{error}");

    lake.config.s3.create_bucket = true;
    Store::open(&lake.config).await.unwrap();
    lake.config.s3.create_bucket = false;
    Store::open(&lake.config).await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_is_told_from_a_missing_server_and_never_shown() {
    let mut lake = Lake::s3().await;
    lake.config.s3.secret_access_key = "wrong-secret".to_owned();
    let error = refused(&lake.config).await;
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(!format!("{error:?} {:?}", lake.config).contains("wrong-secret"));
}

#[tokio::test]
async fn nothing_listening_names_the_endpoint() {
    let mut lake = Lake::s3().await;
    lake.config.s3.endpoint = "http://127.0.0.1:1".to_owned();
    let error = refused(&lake.config).await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("`http://127.0.0.1:1`"), "{error}");
    assert!(!format!("{error:?}").contains("X-Amz"), "no signed URL in {error:?}");
}

#[tokio::test]
async fn an_endpoint_without_tls_needs_a_setting() {
    let mut lake = Lake::s3().await;
    lake.config.s3.allow_http = false;
    let error = refused(&lake.config).await;
    assert!(matches!(error, Error::PlainHttp { .. }), "{error:?}");
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused() {
    let mut lake = Lake::folder();
    for url in ["gs://bucket/lake", "s3://", "http://127.0.0.1/lake"] {
        lake.config.url = url.to_owned();
        let error = refused(&lake.config).await;
        assert!(matches!(&error, Error::Url { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut lake = Lake::folder();
    lake.config.url = file.path().join("lake").display().to_string();
    let error = refused(&lake.config).await;
    assert!(matches!(error, Error::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains(&lake.config.url), "{error}");
}
