//! The guard of a listener: lets a request through to its route, or refuses it before its body is read.
//!
//! Each role lists its routes with what they need. A route that is in no list is refused to everybody, so that none is open by
//! oversight.

use std::{
    borrow::Cow,
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use foldhash::fast::RandomState;
use futures::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, Either, ready},
};
use http::StatusCode;
use tower::{Layer, Service};

use super::connection::Origin;
use crate::{
    keys::{Caller, KeyRing, Scope},
    limits::{Allowance, KeyLimits, Meters},
    problem::Problem,
};

/// A route and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// As the router knows it, such as `/sql/{query_id}`; every method.
    pub path: Cow<'static, str>,
    /// What it needs.
    pub access: Access,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// A key with this scope, where keys are on.
    Needs(Scope),
}

/// When a listener asks for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// When there are any: a public port.
    WhenKeysAreOn,
    /// Always: an internal port that other machines can reach.
    Always,
    /// Never: an internal port on loopback.
    Never,
}

/// Lets requests through to a listener's routes. Clones share it.
#[derive(Clone)]
pub struct Guard(Arc<Shared>);

struct Shared {
    keys: KeyRing,
    meters: Meters,
    lock: Lock,
    routes: HashMap<Cow<'static, str>, Access, RandomState>,
}

impl Route {
    /// A route for everybody.
    #[must_use]
    pub const fn open(path: &'static str) -> Self {
        Self { path: Cow::Borrowed(path), access: Access::Open }
    }

    /// A route for keys with this scope.
    #[must_use]
    pub const fn needs(path: &'static str, scope: Scope) -> Self {
        Self { path: Cow::Borrowed(path), access: Access::Needs(scope) }
    }
}

impl Guard {
    /// The guard of a listener with these routes.
    #[must_use]
    pub fn new<'a>(keys: KeyRing, meters: Meters, lock: Lock, routes: impl IntoIterator<Item = &'a Route>) -> Self {
        let routes = routes.into_iter().map(|route| (route.path.clone(), route.access)).collect();
        Self(Arc::new(Shared { keys, meters, lock, routes }))
    }

    /// Who calls, and what the request may take; nothing of both where the route is open.
    fn admit(&self, request: &Request) -> Result<Option<(Caller, Allowance)>, Box<Response>> {
        let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(None) };
        let scope = match self.0.routes.get(path.as_str()) {
            Some(Access::Open) => return Ok(None),
            Some(Access::Needs(scope)) => *scope,
            None => return Err(Box::new(without_rule(path.as_str()).into_response())),
        };
        let Some((caller, own)) = self.caller(request, scope)? else { return Ok(None) };
        let allowance = self.0.meters.allowance(caller.clone(), own);
        if scope == Scope::Query {
            allowance.take_query().map_err(|problem| Box::new(described(problem.into_response(), &allowance)))?;
        }
        Ok(Some((caller, allowance)))
    }

    /// The caller and the rates of its own.
    fn caller(&self, request: &Request, scope: Scope) -> Result<Option<(Caller, KeyLimits)>, Box<Response>> {
        let needs_key = match self.0.lock {
            Lock::WhenKeysAreOn => self.0.keys.is_on(),
            Lock::Always => true,
            Lock::Never => false,
        };
        if needs_key {
            let key = self.0.keys.check(request.headers(), scope).map_err(|refusal| Box::new(refusal.into_response()))?;
            return Ok(Some((Caller::Key(key.id), key.limits)));
        }
        let origin = request.extensions().get::<Origin>();
        Ok(origin.map(|origin| (Caller::of_peer(origin.peer.ip()), KeyLimits::default())))
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, routes: S) -> Guarded<S> {
        Guarded { guard: self.clone(), routes }
    }
}

/// Routes behind a guard.
#[derive(Clone)]
pub struct Guarded<S> {
    guard: Guard,
    routes: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    /// Boxed only where the answer is another one than that of the routes.
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.guard.admit(&request) {
            Ok(None) => Either::Left(self.routes.call(request)),
            Ok(Some((caller, allowance))) => {
                tracing::debug!(%caller, "admitted");
                request.extensions_mut().insert(caller);
                if !allowance.has_limits() {
                    return Either::Left(self.routes.call(request));
                }
                request.extensions_mut().insert(allowance.clone());
                Either::Right(self.routes.call(request).map_ok(move |response| described(response, &allowance)).boxed())
            }
            Err(refusal) => Either::Right(ready(Ok(*refusal)).boxed()),
        }
    }
}

fn described(mut response: Response, allowance: &Allowance) -> Response {
    allowance.describe(response.headers_mut());
    response
}

fn without_rule(path: &str) -> Problem {
    let cause = format!("the route `{path}` is in no list of routes, so nobody may use it; add it to the list of its role");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", cause)
}
