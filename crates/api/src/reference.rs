//! Back references: an argument `#ids` of one call takes its value from the result of an earlier one in the
//! same batch (RFC 8620 §3.7). Pure.

use crate::{Error, Result, limits};
use serde_json::{Map, Value};

/// An earlier call of the batch that gave a result.
pub(crate) struct Earlier<'a> {
    pub(crate) id: &'a Value,
    pub(crate) method: &'static str,
    /// `None`: the call failed.
    pub(crate) result: Option<&'a Value>,
}

/// Puts values in place of all references. `left` bounds what one request may bring in this way.
pub(crate) fn resolve(
    params: &mut Map<String, Value>,
    earlier: &[Earlier<'_>],
    left: &mut usize,
) -> Result<()> {
    let names: Vec<String> =
        params.keys().filter_map(|key| key.strip_prefix('#').map(str::to_owned)).collect();
    for name in names {
        if params.contains_key(&name) {
            return Err(Error::argument(name, "is given twice, once with # and once without"));
        }
        let reference = params.remove(&format!("#{name}")).unwrap_or_default();
        let value = follow(&reference, earlier, left)
            .map_err(|why| Error::InvalidReference(format!("#{name}: {why}")))?;
        params.insert(name, value);
    }
    Ok(())
}

fn follow(
    reference: &Value,
    earlier: &[Earlier<'_>],
    left: &mut usize,
) -> Result<Value, &'static str> {
    let field = |name| reference.get(name);
    let (Some(of), Some(method), Some(path)) = (
        field("resultOf"),
        field("name").and_then(Value::as_str),
        field("path").and_then(Value::as_str),
    ) else {
        return Err("must have resultOf, name and path");
    };
    let mut matching = earlier.iter().filter(|call| same(call.id, of));
    let call = match (matching.next(), matching.next()) {
        (Some(call), None) => call,
        (None, _) => return Err("no earlier call has that id"),
        (Some(_), Some(_)) => return Err("several earlier calls have that id"),
    };
    if call.method != method {
        return Err("the call with that id is of another method");
    }
    let result = call.result.ok_or("the call with that id failed")?;
    let steps = steps(path)?;
    let found = walk(result, &steps, left)?;
    Ok(match found {
        Found::One(value) => value.clone(),
        Found::Many(values) => values.into_iter().cloned().collect(),
    })
}

/// JMAP's call ids are text; a number of JSON-RPC is matched by its digits too.
fn same(id: &Value, of: &Value) -> bool {
    match (id, of) {
        (Value::Number(id), Value::String(of)) => id.to_string() == *of,
        _ => id == of,
    }
}

/// ```text
/// json-pointer = *( "/" reference-token )      ; RFC 6901 §3, with `*` as a token for every item of a list
/// ```
fn steps(path: &str) -> Result<Vec<String>, &'static str> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or("the path must begin with /")?;
    let steps: Vec<String> = rest
        .split('/')
        .take(limits::REFERENCE_STEPS + 1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect();
    if steps.len() > limits::REFERENCE_STEPS {
        return Err("the path is too long");
    }
    Ok(steps)
}

enum Found<'v> {
    One(&'v Value),
    Many(Vec<&'v Value>),
}

/// Recursion ends with the steps, of which there are at most [`limits::REFERENCE_STEPS`].
fn walk<'v>(
    value: &'v Value,
    steps: &[String],
    left: &mut usize,
) -> Result<Found<'v>, &'static str> {
    let Some((step, rest)) = steps.split_first() else {
        let values = value.as_array().map_or(1, Vec::len);
        *left = left.checked_sub(values).ok_or("it brings in too many values")?;
        return Ok(Found::One(value));
    };
    match value {
        Value::Array(items) if step == "*" => {
            let mut all = Vec::new();
            for item in items {
                match walk(item, rest, left)? {
                    Found::One(Value::Array(inner)) => all.extend(inner),
                    Found::One(one) => all.push(one),
                    Found::Many(many) => all.extend(many),
                }
            }
            Ok(Found::Many(all))
        }
        Value::Array(items) => {
            let plain = step == "0" || !step.starts_with('0');
            let at = step.parse::<usize>().ok().filter(|_| plain);
            let item = at.and_then(|at| items.get(at));
            walk(item.ok_or("the path leads nowhere")?, rest, left)
        }
        Value::Object(map) => walk(map.get(step).ok_or("the path leads nowhere")?, rest, left),
        _ => Err("the path leads nowhere"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(params: &Value) -> Result<Value> {
        let (a, b, c, n) = (json!("a"), json!("b"), json!("c"), json!(7));
        let query = json!({"ids": ["e1", "e2"], "total": 2});
        let get =
            json!({"list": [{"t": "t1", "x": [1, 2]}, {"t": "t2", "x": [3]}], "a/b": {"~": 5}});
        let call = |id, method, result| Earlier { id, method, result };
        let earlier = [
            call(&a, "Email/query", Some(&query)),
            call(&b, "Email/get", Some(&get)),
            call(&c, "Email/get", None),
            call(&n, "Email/query", Some(&query)),
            call(&c, "Email/query", None),
        ];
        let mut params = params.as_object().unwrap().clone();
        resolve(&mut params, &earlier, &mut 100)?;
        Ok(Value::Object(params))
    }

    #[test]
    fn followed() {
        #[track_caller]
        fn check(of: &Value, method: &str, path: &str, expect: &Value) {
            let reference = json!({"resultOf": of, "name": method, "path": path});
            let params = run(&json!({"#ids": reference, "k": 1})).unwrap();
            assert_eq!(params, json!({"ids": expect, "k": 1}));
        }
        check(&json!("a"), "Email/query", "/ids", &json!(["e1", "e2"]));
        check(&json!("a"), "Email/query", "/ids/1", &json!("e2"));
        check(&json!(7), "Email/query", "/total", &json!(2));
        check(&json!("7"), "Email/query", "/total", &json!(2));
        check(&json!("b"), "Email/get", "/list/*/t", &json!(["t1", "t2"]));
        check(&json!("b"), "Email/get", "/list/*/x", &json!([1, 2, 3]));
        check(&json!("b"), "Email/get", "/a~1b/~0", &json!(5));
    }

    #[test]
    fn refused() {
        #[track_caller]
        fn check(reference: &Value, expect: &str) {
            let error = run(&json!({"#ids": reference})).unwrap_err();
            assert_eq!(crate::reply::kind(&error), "invalidResultReference");
            assert!(error.to_string().contains(expect), "{error}");
        }
        let to =
            |of: &str, name: &str, path: &str| json!({"resultOf": of, "name": name, "path": path});
        check(&json!(5), "must have");
        check(&to("z", "Email/query", "/ids"), "no earlier call");
        check(&to("c", "Email/get", "/ids"), "several");
        check(&to("a", "Email/get", "/ids"), "another method");
        check(&to("a", "Email/query", "/nothing"), "nowhere");
        check(&to("a", "Email/query", "/ids/01"), "nowhere");
        check(&to("a", "Email/query", "/total/x"), "nowhere");
        check(&to("a", "Email/query", "ids"), "begin with /");
        check(&to("a", "Email/query", &"/*".repeat(500)), "too long");
        let both = run(&json!({"ids": [], "#ids": to("a", "Email/query", "/ids")}));
        assert_eq!(crate::reply::kind(&both.unwrap_err()), "invalidArguments");
    }

    #[test]
    fn what_is_brought_in_is_bounded() {
        let id = json!("a");
        let many = json!({"ids": vec![1; 60]});
        let earlier = [Earlier { id: &id, method: "M", result: Some(&many) }];
        let mut left = 100;
        let reference = json!({"resultOf": "a", "name": "M", "path": "/ids"});
        let params = |left: &mut usize| {
            let mut map = Map::new();
            map.insert("#ids".to_owned(), reference.clone());
            resolve(&mut map, &earlier, left)
        };
        assert!(params(&mut left).is_ok());
        assert!(params(&mut left).is_err());
    }
}
