//! The OpenAPI document of a running server, and what that server really does.

use std::collections::BTreeSet;

use reqwest::{Client, Method, header::CONTENT_TYPE};
use serde_json::{Map, Value};
use testkit::NatsServer;

use crate::process::Tidemark;

/// The routes of the contract: what a client of any of our roles may call.
const CONTRACT: [&str; 17] = [
    "delete /sql/{query_id}",
    "get /docs",
    "get /errors",
    "get /health",
    "get /healthz",
    "get /livez",
    "get /metrics",
    "get /openapi.json",
    "get /openapi.yaml",
    "get /ready",
    "get /readyz",
    "get /sql",
    "get /stats",
    "post /event",
    "post /events",
    "post /events/bulk",
    "post /sql",
];

/// A request that the document gives as an example.
#[derive(Debug)]
struct Example {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Option<(String, String)>,
}

async fn document(tidemark: &Tidemark) -> Value {
    let answer = reqwest::get(format!("{}/openapi.json", tidemark.url)).await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// Method, path and operation.
fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, operation)| (method, path, operation)))
}

/// Each body, with and without what is optional in the URL.
fn examples(method: &str, path: &str, operation: &Value) -> Vec<Example> {
    let bodies = operation["requestBody"]["content"].as_object().map(bodies);
    let bodies = bodies.map_or_else(|| vec![None], |bodies| bodies.into_iter().map(Some).collect());
    let (method, path) = (method.to_uppercase(), filled(path, operation));
    let example = |(body, with_optional)| {
        let query = parameters(operation, with_optional);
        Example { method: method.clone(), path: path.clone(), query, body }
    };
    bodies.into_iter().flat_map(|body| [(body.clone(), true), (body, false)]).map(example).collect()
}

/// The path with the examples of its parameters.
fn filled(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "path");
    parameters.fold(path.to_owned(), |path, parameter| {
        path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), parameter["example"].as_str().unwrap())
    })
}

fn bodies(content: &Map<String, Value>) -> Vec<(String, String)> {
    let of_type = |(media_type, content): (&String, &Value)| {
        let examples = content["examples"].as_object().expect("every body has examples");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        examples.values().map(|example| (media_type.clone(), text(&example["value"]))).collect::<Vec<_>>()
    };
    content.iter().flat_map(of_type).collect()
}

fn parameters(operation: &Value, with_optional: bool) -> Vec<(String, String)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "query");
    let wanted = parameters.filter(|parameter| parameter["required"] == true || with_optional);
    let pair = |parameter: &Value| Some((parameter["name"].as_str()?.to_owned(), parameter["example"].as_str()?.to_owned()));
    wanted.filter_map(pair).collect()
}

async fn status(url: &str, example: &Example) -> u16 {
    let mut request = Client::new().request(Method::from_bytes(example.method.as_bytes()).unwrap(), format!("{url}{}", example.path));
    request = request.query(&example.query);
    if let Some((media_type, body)) = &example.body {
        request = request.header(CONTENT_TYPE, media_type).body(body.clone());
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_route_of_the_contract_is_in_the_document_and_every_example_works_when_sent() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    let document = document(&tidemark).await;
    let routes: BTreeSet<String> = operations(&document).map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(routes, CONTRACT.iter().map(|route| (*route).to_owned()).collect());
    let mut sent = 0;
    // A path with a name in it needs something that has the name: a running query.
    for (method, path, operation) in operations(&document).filter(|(_, path, _)| !path.contains('{')) {
        for example in examples(method, path, operation) {
            let status = status(&tidemark.url, &example).await;
            let names_nothing = status == 404 && path.contains('{');
            assert!((200..300).contains(&status) || names_nothing, "{status}: {example:?}");
            assert!(operation["responses"].get(status.to_string()).is_some(), "{status} is not documented: {example:?}");
            sent += 1;
        }
    }
    assert!(sent > CONTRACT.len(), "{sent}");
}

#[tokio::test]
async fn a_method_that_the_document_does_not_have_is_refused_and_the_header_says_what_there_is() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    for (path, operations) in document(&tidemark).await["paths"].as_object().unwrap() {
        let answer = Client::new().put(format!("{}{path}", tidemark.url)).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = answer.headers()["allow"].to_str().unwrap().to_lowercase();
        let allowed: BTreeSet<&str> = allowed.split(',').filter(|method| *method != "head").collect();
        assert_eq!(allowed, operations.as_object().unwrap().keys().map(String::as_str).collect(), "{path}");
    }
}
