//! Whether traces are wanted, and whether they can be had: the variables that decide before the SDK reads all others by itself.
//!
//! The SDK falls back to a default where a value is wrong; here a wrong value is an error that names it.

use http::Uri;

use super::Error;

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// The one of traces goes above the general one.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// Those of the SDK.
const SAMPLERS: [&str; 6] =
    ["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"];

/// What is not left to the SDK.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `host:port` of the receiver.
    pub(super) receiver: String,
    /// The name to go by, if any.
    pub(super) service_name: Option<String>,
}

/// A variable of this process; an empty one is none.
#[expect(clippy::disallowed_methods, reason = "the names are OpenTelemetry's, the same for every program, and so no settings of ours")]
pub(super) fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// What the variables ask for; `None` without an endpoint, or when somebody says no.
///
/// # Errors
/// When they ask for what there is not.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Wanted>, Error> {
    let says = |name: &str, word: &str| variable(name).is_some_and(|text| text.eq_ignore_ascii_case(word));
    if says(DISABLED, "true") || says(EXPORTER, "none") {
        return Ok(None);
    }
    let Some((name, endpoint)) = ENDPOINTS.iter().find_map(|name| Some((*name, variable(name)?))) else { return Ok(None) };
    let is_one_of = |names: &[&'static str], values: &[&str], remedy| match names.iter().find_map(|name| Some((*name, variable(name)?))) {
        Some((variable, value)) if !values.contains(&value.as_str()) => Err(Error::Unsupported { variable, value, remedy }),
        _ => Ok(()),
    };
    is_one_of(&[EXPORTER], &["otlp"], "traces are sent by `otlp` only; remove it, or write `none` to send none")?;
    is_one_of(&PROTOCOLS, &["http/protobuf"], "traces are sent by `http/protobuf` only; receivers take it on port 4318 by custom")?;
    is_one_of(&[SAMPLER], &SAMPLERS, "samplers are `always_on`, `always_off`, `traceidratio`, and each of them after `parentbased_`")?;
    let receiver = receiver(&endpoint).ok_or(Error::BadEndpoint { variable: name })?;
    Ok(Some(Wanted { receiver, service_name: variable(SERVICE_NAME) }))
}

/// The part of an endpoint that may be logged.
fn receiver(endpoint: &str) -> Option<String> {
    let uri: Uri = endpoint.parse().ok()?;
    let authority = uri.authority().filter(|_| matches!(uri.scheme_str(), Some("http" | "https")))?;
    let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(variables: &[(&str, &str)]) -> Result<Option<Wanted>, String> {
        let variable = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        read(variable).map_err(|error| error.to_string())
    }

    #[test]
    fn traces_are_wanted_with_an_endpoint_unless_somebody_says_no() {
        let receiver = |variables: &[(&str, &str)]| wanted(variables).unwrap().map(|wanted| wanted.receiver);
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@collector:4318/base");
        assert_eq!(receiver(&[]), None);
        assert_eq!(receiver(&[("OTEL_SERVICE_NAME", "a"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), None);
        assert_eq!(receiver(&[endpoint]).as_deref(), Some("collector:4318"));
        assert_eq!(receiver(&[endpoint, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://b/v1/traces")]).as_deref(), Some("b"));
        for no in [("OTEL_SDK_DISABLED", "True"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(receiver(&[endpoint, no]), None, "{no:?}");
        }
        assert!(receiver(&[endpoint, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp")]).is_some());
    }

    #[test]
    fn what_there_is_not_is_named_with_what_there_is() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (name, value, part) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "`http/protobuf`"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "`http/protobuf`"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "`otlp`"),
            ("OTEL_TRACES_SAMPLER", "sometimes", "`traceidratio`"),
        ] {
            let said = wanted(&[endpoint, (name, value)]).unwrap_err();
            assert!(said.contains(name) && said.contains(value) && said.contains(part), "{said}");
        }
        for bad in ["localhost:4318", "collector", "http://", "ftp://u:hunter2@b:1"] {
            let said = wanted(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", bad)]).unwrap_err();
            assert!(said.contains("`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`") && !said.contains("hunter2"), "{said}");
        }
    }
}
