//! What a token may call of an operation.

use std::collections::BTreeSet;

use okta_authorizer_policy::{ClaimSet, MAX_RESOURCE, Resources, Rules, Verdict, render};

use crate::{
    api::{Api, Operation},
    request::Stage,
    shape::{STAR, Shape, common},
    witness::OPTIONS,
};

/// What a token may call of one method of an operation.
#[derive(Debug)]
pub struct Reach {
    /// The verdict on a request with values that nobody names.
    pub of_any: Verdict,
    /// The paths of the granted routes, with `*`, and for each a request that is allowed.
    pub allowed: BTreeSet<(String, String)>,
    /// The paths of the denied routes, with `*`, of which a request is denied.
    pub denied: BTreeSet<String>,
}

/// `None` if the operation does not have the method.
#[must_use]
pub fn reach(
    rules: &Rules,
    api: &Api,
    operation: &Operation,
    method: &str,
    claims: &ClaimSet,
    stage: &Stage,
) -> Option<Reach> {
    let shapes: Vec<_> = Shape::of(operation).into_iter().filter(|shape| shape.method() == method).collect();
    let verdict = |request: &str| {
        let arn = stage.arn(request)?;
        Some(render(&rules.grants(claims, &arn), &arn, OPTIONS).verdict)
    };
    let any = shapes.first()?.request("any-value", |_| String::new());
    let grants = rules.grants(claims, &stage.arn(&any)?);
    let of_routes = |resources: &Resources<'_>, is_wanted: fn(&Verdict) -> bool| {
        let mut paths = BTreeSet::new();
        for (resource, _) in resources.iter().filter(|(resource, _)| resource.len() < MAX_RESOURCE) {
            let route = Shape(resource.replace('*', &STAR.to_string()));
            let requests = shapes.iter().filter_map(|shape| common(&[&route, shape], 'x'));
            let mut requests = requests.map(|common| common.request.replacen('/', " /", 1));
            let is_good = |request: &String| {
                api.leads_to(&request.replacen(' ', "", 1), operation)
                    && verdict(request).is_some_and(|verdict| is_wanted(&verdict))
            };
            let Some(request) = requests.find(is_good) else { continue };
            // A `*` with nothing in its place, or with a slash, is shown as the request.
            let at_its_place = route.one_segment();
            let is_at_place = shapes.iter().any(|shape| common(&[&at_its_place, shape], 'x').is_some());
            let shown = if is_at_place { route.request("*", |_| String::new()) } else { request.clone() };
            paths.insert((path_of(&shown).to_owned(), request));
        }
        paths
    };
    let denied = of_routes(&grants.deny, |verdict| matches!(verdict, Verdict::DeniedByRule { .. }));
    let mut allowed = of_routes(&grants.allow, |verdict| matches!(verdict, Verdict::Allowed { .. }));
    let of_any = verdict(&any)?;
    if matches!(of_any, Verdict::Allowed { .. }) && allowed.is_empty() {
        allowed.insert((path_of(&any).to_owned(), any));
    }
    Some(Reach { of_any, allowed, denied: denied.into_iter().map(|(path, _)| path).collect() })
}

/// The path of `METHOD /path`.
fn path_of(request: &str) -> &str {
    request.split_once(' ').map_or("", |(_, path)| path)
}
