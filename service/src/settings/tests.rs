use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use serde::Deserialize;
use tempfile::TempDir;
use toml_edit::{Document, Key};

use super::{catalogue::EMBEDDED, *};

/// A settings file that lives as long as the test.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.toml");
    fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_file(text: &str) -> (Result<Settings, Error>, String) {
    let file = file(text);
    let place = file.path.display().to_string();
    (Settings::load(Sources { file: Some(file.path.clone()), ..Sources::default() }), place)
}

fn load_environment(variables: &[(&str, &str)]) -> Result<Settings, Error> {
    Settings::load(Sources { environment: environment(variables), ..Sources::default() })
}

fn load_flag(key: &str, value: &str) -> Result<Settings, Error> {
    Settings::load(Sources { flags: environment(&[(key, value)]), ..Sources::default() })
}

fn entry(settings: &Settings, key: &str) -> (String, String) {
    let entry = settings.effective().into_iter().find(|entry| entry.key == key).unwrap();
    (entry.value, entry.origin)
}

#[test]
fn every_embedded_key_has_a_comment_above_it() {
    let document = Document::parse(EMBEDDED).unwrap();
    let mut keys = 0;
    let mut check = |name: &str, key: &Key| {
        let comment = key.leaf_decor().prefix().and_then(|prefix| prefix.span()).map(|span| &EMBEDDED[span]);
        assert!(comment.is_some_and(|comment| comment.trim_start().starts_with("# ")), "{name}");
        keys += 1;
    };
    for (section, item) in document.iter() {
        let table = item.as_table().unwrap();
        for (name, item) in table.iter() {
            match item.as_table() {
                Some(inner) => inner.iter().for_each(|(name, _)| check(&format!("{section}.{name}"), inner.key(name).unwrap())),
                None => check(&format!("{section}.{name}"), table.key(name).unwrap()),
            }
        }
    }
    assert_eq!(keys, Settings::load(Sources::default()).unwrap().effective().len());
}

#[test]
fn a_later_layer_wins_and_every_value_knows_its_layer() {
    let file = file("[nats]\nurl = \"nats://file:1\"\nuser = \"file\"\nconnect_timeout = \"1s\"\n");
    let settings = Settings::load(Sources {
        file: Some(file.path.clone()),
        environment: environment(&[("TIDEMARK__NATS__URL", "nats://env:1"), ("TIDEMARK__NATS__USER", "env"), ("HOME", "/")]),
        flags: environment(&[("nats.url", "nats://flag:1")]),
    })
    .unwrap();
    assert_eq!(entry(&settings, "nats.url"), ("\"nats://flag:1\"".into(), "flag --set".into()));
    assert_eq!(entry(&settings, "nats.user"), ("\"env\"".into(), "environment TIDEMARK__NATS__USER".into()));
    assert_eq!(entry(&settings, "nats.connect_timeout"), ("\"1s\"".into(), format!("file {}:4", file.path.display())));
    assert_eq!(entry(&settings, "nats.monitoring_url"), ("\"\"".into(), "default".into()));
}

#[test]
fn effective_lists_the_keys_in_the_order_of_the_embedded_file() {
    let keys: Vec<_> = Settings::load(Sources::default()).unwrap().effective().into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys[..3], ["log.level", "log.format", "nats.url"]);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
}

#[test]
fn an_unknown_key_in_a_file_names_its_line_and_the_nearest_key() {
    let (loaded, path) = load_file("# mine\n[nats]\nulr = \"nats://x\"\n");
    assert_eq!(loaded.unwrap_err().to_string(), format!("unknown key `nats.ulr` in file {path}:3; did you mean `nats.url`?"));
    let (loaded, path) = load_file("\n[natz]\nurl = \"nats://x\"\n");
    assert_eq!(loaded.unwrap_err().to_string(), format!("unknown key `natz` in file {path}:2; did you mean `nats`?"));
    let (loaded, path) = load_file("colour = \"blue\"\n");
    let message = format!("unknown key `colour` in file {path}:1; `tidemark config show` lists every key");
    assert_eq!(loaded.unwrap_err().to_string(), message);
}

#[test]
fn an_unknown_key_in_the_environment_or_a_flag_names_the_nearest_as_it_is_written_there() {
    assert_eq!(
        load_environment(&[("TIDEMARK__TABLE__S3__ENDPIONT", "x")]).unwrap_err().to_string(),
        "unknown key `TIDEMARK__TABLE__S3__ENDPIONT` in environment TIDEMARK__TABLE__S3__ENDPIONT; \
         did you mean `TIDEMARK__TABLE__S3__ENDPOINT`?"
    );
    let message = "unknown key `query.time_out` in flag --set; did you mean `query.timeout`?";
    assert_eq!(load_flag("query.time_out", "1s").unwrap_err().to_string(), message);
}

#[test]
fn a_value_of_another_kind_names_the_key_the_place_and_an_example() {
    let (loaded, path) = load_file("[http]\nheader_timeout = 10\n");
    let message = format!(
        "wrong value for `http.header_timeout` in file {path}:2: expected text in quotes, found a number; \
         right would be, for example, `header_timeout = \"10s\"`"
    );
    assert_eq!(loaded.unwrap_err().to_string(), message);
    assert_eq!(
        load_environment(&[("TIDEMARK__JOURNAL__SHARDS", "two")]).unwrap_err().to_string(),
        "wrong value for `journal.shards` in environment TIDEMARK__JOURNAL__SHARDS: `two` is not a whole number; \
         right would be, for example, `TIDEMARK__JOURNAL__SHARDS=1`"
    );
    assert_eq!(
        load_flag("table.s3.allow_http", "yes").unwrap_err().to_string(),
        "wrong value for `table.s3.allow_http` in flag --set: `yes` is neither `true` nor `false`; \
         right would be, for example, `--set table.s3.allow_http=false`"
    );
}

#[test]
fn sections_and_keys_are_not_mistaken_for_each_other() {
    let (loaded, path) = load_file("nats = \"nats://x\"\n");
    let message = format!("wrong value for `nats` in file {path}:1: this is a section, not a key; right would be, for example, `[nats]`");
    assert_eq!(loaded.unwrap_err().to_string(), message);
    let (loaded, _) = load_file("[nats.url]\nhost = \"x\"\n");
    assert!(loaded.unwrap_err().to_string().contains("expected text in quotes, found a table"));
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_named() {
    let missing = Settings::load(Sources { file: Some("/nowhere/t.toml".into()), ..Sources::default() }).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read the settings file `/nowhere/t.toml`");
    let (loaded, path) = load_file("[nats]\npassword = \"hunter2\n");
    let message = loaded.unwrap_err().to_string();
    assert!(message.starts_with(&format!("the settings file `{path}` is not valid TOML at line 2: ")), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[derive(Debug, Deserialize)]
struct Table {
    url: String,
    s3: S3,
}

#[derive(Debug, Deserialize)]
struct S3 {
    secret_access_key: Secret,
    create_bucket: bool,
}

#[derive(Debug, Deserialize)]
struct Ingest {
    max_bulk_events: u16,
    max_body: ByteSize,
    future_skew: Interval,
    channels: Vec<String>,
    timestamp: Timestamp,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Timestamp {
    Required,
    Optional,
}

#[test]
fn a_section_becomes_the_struct_of_its_module_with_nested_sections() {
    let settings = load_environment(&[
        ("TIDEMARK__TABLE__S3__SECRET_ACCESS_KEY", "hunter2"),
        ("TIDEMARK__INGEST__CHANNELS", "web, app"),
        ("TIDEMARK__INGEST__TIMESTAMP", "optional"),
    ])
    .unwrap();
    let table: Table = settings.section("table").unwrap();
    assert_eq!((table.url.as_str(), table.s3.create_bucket), ("./data/lake", true));
    assert_eq!(table.s3.secret_access_key.expose(), "hunter2");
    let s3: S3 = settings.section("table.s3").unwrap();
    assert!(s3.create_bucket);
    let ingest: Ingest = settings.section("ingest").unwrap();
    assert_eq!((ingest.max_bulk_events, ingest.max_body), (10_000, ByteSize(8 << 20)));
    assert_eq!((ingest.future_skew, ingest.timestamp), (Interval(Duration::from_secs(300)), Timestamp::Optional));
    assert_eq!(ingest.channels, ["web", "app"]);
}

#[test]
fn a_list_is_a_toml_array_or_joined_by_commas() {
    for (text, items) in [("", "[]"), ("a", "[\"a\"]"), ("a, b,", "[\"a\",\"b\"]"), ("[\"a,b\", \"c\"]", "[\"a,b\",\"c\"]")] {
        let settings = load_flag("ingest.channels", text).unwrap();
        assert_eq!(entry(&settings, "ingest.channels").0, items);
    }
    let message = load_flag("ingest.channels", "[\"a").unwrap_err().to_string();
    assert!(message.contains("is not a list; right would be, for example, `--set ingest.channels='[\"a\",\"b\"]'`"), "{message}");
}

#[test]
fn a_value_that_does_not_suit_its_field_names_the_key_the_place_and_an_example() {
    let ingest = |text: &str| {
        let (settings, path) = load_file(text);
        (settings.unwrap().section::<Ingest>("ingest").unwrap_err().to_string(), path)
    };
    let (message, path) = ingest("[ingest]\nfuture_skew = \"10 parsecs\"\n");
    assert_eq!(
        message,
        format!(
            "wrong value for `ingest.future_skew` in file {path}:2: `10 parsecs` is not a duration; \
             a duration is a number and one of ms, s, m, h, days; right would be, for example, `future_skew = \"300s\"`"
        )
    );
    let (message, _) = ingest("[ingest]\ntimestamp = \"maybe\"\n");
    assert!(message.contains("unknown variant `maybe`, expected `required` or `optional`; right would be"), "{message}");
    let (message, _) = ingest("[ingest]\nmax_bulk_events = 70000\n");
    assert!(message.contains("invalid value: integer `70000`, expected u16; right would be"), "{message}");
    let (message, _) = ingest("[ingest]\nmax_body = \"8 MiBs\"\n");
    assert!(message.contains("`8 MiBs` is not a size; "), "{message}");
}

#[test]
fn a_struct_that_does_not_fit_its_section_is_called_a_defect() {
    #[derive(Debug, Deserialize)]
    struct Wrong {
        #[serde(rename = "no_such_key")]
        _field: bool,
    }
    let message = Settings::load(Sources::default()).unwrap().section::<Wrong>("log").unwrap_err().to_string();
    assert_eq!(message, "the section `log` cannot be read: missing field `no_such_key`; this is a defect, please report it");
}

#[test]
fn secrets_may_come_from_a_file_but_not_twice() {
    let secret = file("hunter2\n");
    let path = secret.path.to_str().unwrap();
    let settings = load_environment(&[("TIDEMARK__TABLE__S3__SECRET_ACCESS_KEY_FILE", path)]).unwrap();
    assert_eq!(settings.section::<S3>("table.s3").unwrap().secret_access_key.expose(), "hunter2");
    let (value, origin) = entry(&settings, "table.s3.secret_access_key");
    assert_eq!((value.as_str(), origin.as_str()), ("\"***\"", "environment TIDEMARK__TABLE__S3__SECRET_ACCESS_KEY_FILE"));

    let twice = load_environment(&[("TIDEMARK__NATS__PASSWORD", "a"), ("TIDEMARK__NATS__PASSWORD_FILE", path)]).unwrap_err();
    assert_eq!(twice.to_string(), "both TIDEMARK__NATS__PASSWORD and TIDEMARK__NATS__PASSWORD_FILE are set; remove one of them");
    let missing = load_environment(&[("TIDEMARK__NATS__PASSWORD_FILE", "/nowhere")]).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read the file `/nowhere` that TIDEMARK__NATS__PASSWORD_FILE names");
    let no_secret = load_environment(&[("TIDEMARK__NATS__URL_FILE", path)]).unwrap_err();
    assert!(matches!(no_secret, Error::UnknownKey { nearest: Some(nearest), .. } if nearest == "TIDEMARK__NATS__URL"));
}

#[test]
fn a_secret_is_neither_in_effective_nor_in_debug_nor_in_an_error() {
    let sources = Sources {
        environment: environment(&[
            ("TIDEMARK__NATS__PASSWORD", "hunter2"),
            ("TIDEMARK__NATS__URL", "nats://me:hunter2@a:4222,nats://me:hunter2@b:4222"),
        ]),
        flags: environment(&[("table.s3.secret_access_key", "hunter2")]),
        ..Sources::default()
    };
    assert!(!format!("{sources:?}").contains("hunter2"));
    let settings = Settings::load(sources).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(!format!("{:?}", settings.section::<Table>("table").unwrap()).contains("hunter2"));
    assert_eq!(entry(&settings, "nats.url").0, "\"nats://***@a:4222,nats://***@b:4222\"");
    assert_eq!(entry(&settings, "nats.password").0, "\"***\"");

    #[derive(Debug, Deserialize)]
    struct WrongType {
        #[serde(rename = "password")]
        _password: u16,
    }
    let message = settings.section::<WrongType>("nats").unwrap_err().to_string();
    assert!(message.contains("`nats.password`") && !message.contains("hunter2"), "{message}");
}
