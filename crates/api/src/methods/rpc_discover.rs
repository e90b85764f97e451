//! rpc.discover: the `OpenRPC` document made from the table.

use super::{Answer, Context, arguments};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {}

/// An `OpenRPC` document.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct Document(Map<String, Value>);

pub(crate) fn run(_ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move {
        arguments::<Params>(params)?;
        Ok(crate::openrpc::document().clone())
    })
}
