//! The `OpenRPC` 1.3 document of all methods, made from the table and the types.

use crate::methods::{METHODS, Method};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The document; made once.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(make)
}

fn make() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut input = settings.clone().for_deserialize().into_generator();
    let mut output = settings.for_serialize().into_generator();
    let methods: Vec<Value> =
        METHODS.iter().map(|row| method(row, &mut input, &mut output)).collect();
    let mut schemas = input.take_definitions(true);
    schemas.append(&mut output.take_definitions(true));
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "OpenPoczta",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Mail over JSON-RPC 2.0, by POST to /rpc. Names and meaning of the methods are those of JMAP \
                (RFC 8620, RFC 8621). Arguments go by name. An argument `#x` takes its value from the \
                result of an earlier call of the same batch: {\"resultOf\": id of that call, \"name\": \
                its method, \"path\": JSON pointer}.",
        },
        "methods": methods,
        "components": {"schemas": schemas},
    })
}

fn method(row: &Method, input: &mut SchemaGenerator, output: &mut SchemaGenerator) -> Value {
    let params = (row.params)(input).to_value();
    let required = |name: &str| {
        let list = params.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|n| n == name))
    };
    let none = Map::new();
    let properties = params.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let mut list: Vec<Value> = properties
        .iter()
        .map(|(name, schema)| json!({"name": name, "required": required(name), "schema": schema}))
        .collect();
    // Required ones first, as OpenRPC wants it.
    list.sort_by_key(|p| p.get("required") != Some(&Value::Bool(true)));
    json!({
        "name": row.name,
        "summary": row.summary,
        "description": format!("{} ({:?} access)", row.spec, row.scope),
        "paramStructure": "by-name",
        "params": list,
        "result": {"name": "result", "schema": (row.result)(output).to_value()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` in the document leads somewhere.
    fn references(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                out.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|v| references(v, out));
            }
            Value::Array(list) => list.iter().for_each(|v| references(v, out)),
            _ => {}
        }
    }

    #[test]
    fn whole() {
        let document = document();
        let mut refs = Vec::new();
        references(document, &mut refs);
        assert!(refs.len() > 10);
        for path in refs {
            assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{path}");
        }
        let methods = document["methods"].as_array().unwrap();
        assert_eq!(methods.len(), METHODS.len());
        let get = methods.iter().find(|m| m["name"] == "Email/get").unwrap();
        assert_eq!(get["params"][0]["name"], "accountId");
        assert_eq!(get["params"][0]["required"], true);
        assert!(
            get["params"].as_array().unwrap().iter().any(|p| p["name"] == "fetchHTMLBodyValues")
        );
        let list = &get["result"]["schema"]["properties"]["list"];
        assert_eq!(list["items"]["$ref"], "#/components/schemas/Email");
    }
}
