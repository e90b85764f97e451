//! Core/echo: gives the arguments back (RFC 8620 §4).

use super::{Answer, Context};
use schemars::JsonSchema;
use serde_json::{Map, Value};

/// Anything.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct Params(Map<String, Value>);

pub(crate) fn run(_ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move { Ok(Value::Object(params)) })
}
