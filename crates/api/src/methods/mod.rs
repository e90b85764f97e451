//! The table of methods. A method is one file here and one row in [`METHODS`]; the fronts, the `OpenRPC`
//! document and the authorisation test read the table.

mod core_echo;
mod email_changes;
mod email_get;
mod email_query;
mod email_set;
mod mailbox_changes;
mod mailbox_get;
mod mailbox_set;
mod rpc_discover;
mod thread_get;

use crate::{Error, Result, Service, limits};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use types::AccountId;

/// What a caller may do; a later one includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    Write,
}

/// One method: its name on the wire, who may call it, what goes in and out, who answers, which section says so.
pub struct Method {
    pub name: &'static str,
    pub scope: Scope,
    pub summary: &'static str,
    pub params: fn(&mut SchemaGenerator) -> Schema,
    pub result: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) run: Run,
    pub spec: &'static str,
}

pub(crate) type Run = for<'a> fn(&'a Context, Map<String, Value>) -> Answer<'a>;
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>;

/// Sorted by name.
#[rustfmt::skip]
pub static METHODS: &[Method] = &[
    Method { name: "Core/echo", scope: Scope::Read, summary: "Gives the arguments back",
        params: schema::<core_echo::Params>, result: schema::<core_echo::Params>, run: core_echo::run, spec: "RFC 8620 §4" },
    Method { name: "Email/changes", scope: Scope::Read, summary: "Ids of emails made, changed and gone since a state",
        params: schema::<crate::jmap::changes::Params>, result: schema::<crate::jmap::changes::Changed>, run: email_changes::run, spec: "RFC 8621 §4.3" },
    Method { name: "Email/get", scope: Scope::Read, summary: "Properties of emails",
        params: schema::<email_get::Params>, result: schema::<email_get::Got>, run: email_get::run, spec: "RFC 8621 §4.2" },
    Method { name: "Email/query", scope: Scope::Read, summary: "Ids of emails that meet a filter, sorted",
        params: schema::<email_query::Params>, result: schema::<email_query::Found>, run: email_query::run, spec: "RFC 8621 §4.4" },
    Method { name: "Email/set", scope: Scope::Write, summary: "Changes keywords and mailboxes of emails, removes emails",
        params: schema::<email_set::Params>, result: schema::<crate::jmap::set::Outcome>, run: email_set::run, spec: "RFC 8621 §4.6" },
    Method { name: "Mailbox/changes", scope: Scope::Read, summary: "Ids of mailboxes made, changed and gone since a state",
        params: schema::<crate::jmap::changes::Params>, result: schema::<mailbox_changes::Changed>, run: mailbox_changes::run, spec: "RFC 8621 §2.2" },
    Method { name: "Mailbox/get", scope: Scope::Read, summary: "Mailboxes with their counters",
        params: schema::<mailbox_get::Params>, result: schema::<mailbox_get::Got>, run: mailbox_get::run, spec: "RFC 8621 §2.1" },
    Method { name: "Mailbox/set", scope: Scope::Write, summary: "Makes, renames and removes mailboxes",
        params: schema::<mailbox_set::Params>, result: schema::<crate::jmap::set::Outcome>, run: mailbox_set::run, spec: "RFC 8621 §2.5" },
    Method { name: "Thread/get", scope: Scope::Read, summary: "The emails of conversations",
        params: schema::<thread_get::Params>, result: schema::<thread_get::Got>, run: thread_get::run, spec: "RFC 8621 §3.1" },
    Method { name: "rpc.discover", scope: Scope::Read, summary: "This description, as an OpenRPC document",
        params: schema::<rpc_discover::Params>, result: schema::<rpc_discover::Document>, run: rpc_discover::run, spec: "OpenRPC 1.3 §service-discovery-method" },
];

pub(crate) fn find(name: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|row| row.name.cmp(name)).ok().and_then(|at| METHODS.get(at))
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// Who asks, and what the whole request may still use up.
pub(crate) struct Context {
    pub(crate) service: Arc<Service>,
    pub(crate) account: AccountId,
    pub(crate) scope: Scope,
    body_values_bytes: AtomicUsize,
}

impl Context {
    pub(crate) fn new(service: Arc<Service>, account: AccountId, scope: Scope) -> Self {
        Self {
            service,
            account,
            scope,
            body_values_bytes: AtomicUsize::new(limits::BODY_VALUES_BYTES),
        }
    }

    pub(crate) fn store(&self) -> &storage::Store {
        &self.service.store
    }

    /// Checks an `accountId`. Other accounts and no account look the same.
    pub(crate) fn own(&self, account_id: &str) -> Result<AccountId> {
        if crate::jmap::ids::account(account_id) == Some(self.account) {
            Ok(self.account)
        } else {
            Err(Error::NoAccount)
        }
    }

    /// Takes up to `wanted` bytes out of what this request's body values may still have.
    pub(crate) fn take_body_bytes(&self, wanted: usize) -> usize {
        let take = |left: usize| Some(left.saturating_sub(wanted));
        let before = self
            .body_values_bytes
            .try_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .unwrap_or(0);
        before.min(wanted)
    }

    /// Runs a method by name; counts it.
    pub(crate) async fn call(
        &self,
        name: &str,
        params: Map<String, Value>,
    ) -> Result<(&'static str, Value)> {
        let metrics = &self.service.metrics;
        let Some(method) = find(name) else {
            metrics.count("unknown", "unknownMethod");
            let shown: String = name.chars().take(100).collect();
            return Err(Error::UnknownMethod(shown));
        };
        let result = if self.scope < method.scope {
            Err(Error::Forbidden("this login may only read"))
        } else {
            (method.run)(self, params).await
        };
        let outcome = result.as_ref().err().map_or("ok", crate::reply::kind);
        metrics.count(method.name, outcome);
        result.map(|value| (method.name, value))
    }
}

/// Arguments by name into a method's own type; the error names the one that is wrong.
pub(crate) fn arguments<T: serde::de::DeserializeOwned>(params: Map<String, Value>) -> Result<T> {
    serde_path_to_error::deserialize(Value::Object(params)).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.inner().to_string();
        let named = path.trim_matches(|c| c == '.' || c == '?');
        // A missing or unknown field is not part of the path; the text has it in backticks.
        let field = match reason.split('`').nth(1) {
            Some(name) if named.is_empty() => name.to_owned(),
            _ => named.to_owned(),
        };
        let reason: String = reason.chars().take(200).collect();
        Error::InvalidArguments { field, reason }
    })
}

/// A result as JSON.
pub(crate) fn value(result: impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(result).map_err(|e| Error::Internal(format!("a result is no JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_without_doubles_and_explained() {
        assert!(METHODS.is_sorted_by(|a, b| a.name < b.name));
        for method in METHODS {
            assert!(find(method.name).is_some_and(|m| m.name == method.name));
            assert!(!method.summary.is_empty() && !method.spec.is_empty());
        }
        assert!(find("Email/nothing").is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        #[track_caller]
        fn check(params: &str, field: &str) {
            let map = serde_json::from_str(params).unwrap();
            let error = arguments::<email_query::Params>(map).err().unwrap();
            let Error::InvalidArguments { field: named, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(named, field, "{error}");
        }
        check("{}", "accountId");
        check(r#"{"accountId": 7}"#, "accountId");
        check(r#"{"accountId": "a1", "limit": "x"}"#, "limit");
        check(r#"{"accountId": "a1", "limit": -1}"#, "limit");
        check(r#"{"accountId": "a1", "lomit": 1}"#, "lomit");
        check(r#"{"accountId": "a1", "sort": [{"property": 1}]}"#, "sort[0].property");
    }
}
