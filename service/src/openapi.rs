//! The OpenAPI document of a process, made of its routes.
//!
//! [`Api`] takes a handler only together with what is said about it, so no route of it is missing in the document, and none stands there
//! that does not exist. Operations are written in OpenAPI's own words; schemas come from the types that are sent. The descriptions
//! of several roles are joined with [`Description::and`], and [`Description::router`] serves them for programs and for people.

mod document;
mod pages;
pub mod parts;

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, on},
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::http::{Access, Route};

/// What OpenAPI calls an operation; schemas of types are taken from the generator.
pub type Operation = fn(&mut SchemaGenerator) -> Value;

/// Routes, each with its description.
pub struct Api<S = ()> {
    tag: &'static str,
    access: Access,
    router: Router<S>,
    schemas: SchemaGenerator,
    description: Description,
}

/// What is said about some routes. It becomes a document when all that a process serves is [joined](Self::and).
#[derive(Clone, Debug, Default)]
pub struct Description {
    routes: Vec<Route>,
    tags: Vec<Value>,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// No routes yet. They will stand together under the name `tag`, and all need the same.
    #[must_use]
    pub fn new(tag: &'static str, access: Access, about: &str) -> Self {
        let description = Description { tags: vec![json!({"name": tag, "description": about})], ..Description::default() };
        Self { tag, access, router: Router::new(), schemas: generator(), description }
    }

    /// A route for GET.
    #[must_use]
    pub fn get<T: 'static>(self, path: &'static str, handler: impl Handler<T, S>, operation: Operation) -> Self {
        self.on((MethodFilter::GET, "get"), path, handler, operation)
    }

    /// A route for POST.
    #[must_use]
    pub fn post<T: 'static>(self, path: &'static str, handler: impl Handler<T, S>, operation: Operation) -> Self {
        self.on((MethodFilter::POST, "post"), path, handler, operation)
    }

    /// A route for DELETE.
    #[must_use]
    pub fn delete<T: 'static>(self, path: &'static str, handler: impl Handler<T, S>, operation: Operation) -> Self {
        self.on((MethodFilter::DELETE, "delete"), path, handler, operation)
    }

    fn on<T: 'static>(
        mut self,
        (method, name): (MethodFilter, &str),
        path: &'static str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        let mut operation = operation(&mut self.schemas);
        operation["tags"] = json!([self.tag]);
        if self.access == Access::Open {
            operation["security"] = json!([{}]);
        }
        self.description.routes.push(Route { path: path.into(), access: self.access });
        self.description.paths.entry(path).or_insert_with(|| json!({}))[name] = operation;
        self.router = self.router.route(path, on(method, handler));
        self
    }

    /// The router, and what is said about it.
    pub fn finish(mut self) -> (Router<S>, Description) {
        self.description.schemas = self.schemas.take_definitions(true);
        (self.router, self.description)
    }
}

impl Description {
    /// What is said here and there.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self.tags.extend(other.tags);
        self.paths.extend(other.paths);
        self.schemas.extend(other.schemas);
        self
    }

    /// The whole document; see [`document`].
    #[must_use]
    pub fn document(self) -> Value {
        document::of(self)
    }

    /// The routes, and what each needs.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn with_open_route(mut self, path: String) -> Self {
        self.routes.push(Route { path: path.into(), access: Access::Open });
        self
    }

    /// `GET /openapi.json`, `GET /openapi.yaml`, and Swagger UI at `/docs`, and the description with these.
    pub fn router(self) -> (Router, Self) {
        pages::router(self)
    }
}

/// Schemas of what is sent, in the dialect of OpenAPI 3.1.
fn generator() -> SchemaGenerator {
    let in_components = |settings: &mut SchemaSettings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    };
    SchemaSettings::draft2020_12().with(in_components).for_serialize().into_generator()
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;
    use crate::keys::Scope;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Answer {
        count: u32,
    }

    fn counted(schemas: &mut SchemaGenerator) -> Value {
        let answer = json!({"description": "ok", "content": {"application/json": {"schema": schemas.subschema_for::<Answer>()}}});
        json!({"operationId": "count", "responses": parts::responses(json!({"200": answer}), &[400])})
    }

    fn document() -> Value {
        let (_, first) = Api::<()>::new("one", Access::Open, "first").get("/count", async || "", counted).finish();
        let (_, second) = Api::<()>::new("two", Access::Needs(Scope::Query), "second")
            .post("/count", async || "", counted)
            .get("/more", async || "", counted)
            .finish();
        first.and(second).document()
    }

    #[test]
    fn descriptions_are_joined_with_their_paths_tags_and_schemas() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["paths"]["/more"]["get"]["tags"], json!(["two"]));
        assert_eq!(document["tags"].as_array().unwrap().len(), 2);
        assert_eq!(document["components"]["schemas"]["Answer"]["properties"]["count"]["type"], "integer");
    }

    #[test]
    fn every_answer_has_a_request_id_and_every_reference_leads_somewhere() {
        let document = document();
        let answers = &document["paths"]["/more"]["get"]["responses"];
        assert!(answers["200"]["headers"]["X-Request-Id"].is_object(), "{answers}");
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        assert!(text.contains("#/components/responses/BadRequest"), "{text}");
    }
}
