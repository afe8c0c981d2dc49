//! The guard of a listener: lets a request through to its route, or refuses it before its body is read.
//!
//! Each role lists its routes with what they need. A route that is in no list is refused to everybody, so that none is open by
//! oversight.

use std::{borrow::Cow, collections::HashMap, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::StatusCode;

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
    routes: HashMap<Cow<'static, str>, Access>,
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

    /// Puts the guard before all routes of a finished router.
    pub fn before(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, guard))
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
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Ok(peer.map(|peer| (Caller::of_peer(peer.0.ip()), KeyLimits::default())))
    }
}

async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.admit(&request) {
        Ok(None) => next.run(request).await,
        Ok(Some((caller, allowance))) => {
            request.extensions_mut().insert(caller.clone());
            request.extensions_mut().insert(allowance.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(caller);
            described(response, &allowance)
        }
        Err(refusal) => *refusal,
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
