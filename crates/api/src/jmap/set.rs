//! The answer of every `/set` (RFC 8620 §5.3).

use crate::reply::SetError;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) account_id: String,
    pub(crate) old_state: String,
    pub(crate) new_state: String,
    /// What the server decided about each new object, by creation id.
    pub(crate) created: Option<BTreeMap<String, Value>>,
    /// Each changed object, with `null`: nothing changed beyond what was asked.
    pub(crate) updated: Option<BTreeMap<String, Option<Map<String, Value>>>>,
    pub(crate) destroyed: Option<Vec<String>>,
    pub(crate) not_created: Option<BTreeMap<String, SetError>>,
    pub(crate) not_updated: Option<BTreeMap<String, SetError>>,
    pub(crate) not_destroyed: Option<BTreeMap<String, SetError>>,
}

impl Outcome {
    pub(crate) fn made(&mut self, id: String, result: Result<Value, SetError>) {
        match result {
            Ok(value) => drop(self.created.get_or_insert_default().insert(id, value)),
            Err(error) => drop(self.not_created.get_or_insert_default().insert(id, error)),
        }
    }

    pub(crate) fn changed(&mut self, id: String, result: Result<(), SetError>) {
        match result {
            Ok(()) => drop(self.updated.get_or_insert_default().insert(id, None)),
            Err(error) => drop(self.not_updated.get_or_insert_default().insert(id, error)),
        }
    }

    pub(crate) fn removed(&mut self, id: String, result: Result<(), SetError>) {
        match result {
            Ok(()) => self.destroyed.get_or_insert_default().push(id),
            Err(error) => drop(self.not_destroyed.get_or_insert_default().insert(id, error)),
        }
    }
}
