//! Email/get: properties of emails (RFC 8621 §4.2). Most come from what is stored beside the letter; bytes are
//! read only for body values, headers and `hasRemoteImages`.

use super::{Answer, Context, arguments, value};
use crate::jmap::body::{self, Tree};
use crate::jmap::email::{self, EmailObject, Property, View};
use crate::jmap::home::Home;
use crate::jmap::{filter::Filter, header, ids, query, state};
use crate::{Error, Result, limits};
use mparser::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use storage::{Email, Message};
use types::{AccountId, EmailId, MailboxId};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    account_id: String,
    /// `null`: all emails, if they are few enough.
    ids: Option<Vec<String>>,
    /// Names of properties, `header:Name:asForm` among them.
    #[serde(default)]
    properties: Option<Vec<String>>,
    #[serde(default)]
    body_properties: Option<Vec<String>>,
    #[serde(default)]
    fetch_text_body_values: bool,
    #[serde(default, rename = "fetchHTMLBodyValues")]
    fetch_html_body_values: bool,
    #[serde(default)]
    fetch_all_body_values: bool,
    /// 0: no limit but the server's.
    #[serde(default)]
    max_body_value_bytes: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Got {
    account_id: String,
    state: String,
    #[schemars(with = "Vec<EmailObject>")]
    list: Vec<Value>,
    not_found: Vec<String>,
}

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move {
        let params: Params = arguments(params)?;
        let account = ctx.own(&params.account_id)?;
        let wanted = Wanted::of(&params)?;
        let state = state::now(ctx.store(), account).await?;
        let asked = match &params.ids {
            Some(ids) => ids::unique(ids.clone()),
            None => all_ids(ctx, account).await?,
        };
        if asked.len() > limits::OBJECTS_IN_GET {
            return Err(Error::TooLarge("ids", limits::OBJECTS_IN_GET));
        }
        let known: Vec<EmailId> = asked.iter().filter_map(|id| ids::email(id)).collect();
        let found = ctx.store().emails(account, &known).await?;
        let ids: Vec<EmailId> = found.iter().map(|email| email.id).collect();
        let homes = ctx.store().homes_of(account, &ids).await?;
        let mut found: HashMap<EmailId, (Arc<Email>, Homes)> =
            found.into_iter().zip(homes).map(|(email, homes)| (email.id, (email, homes))).collect();
        let mut got = Got {
            account_id: params.account_id.clone(),
            state,
            list: Vec::with_capacity(asked.len()),
            not_found: Vec::new(),
        };
        for id in asked {
            let email = ids::email(&id).and_then(|id| found.remove(&id));
            let object = match email {
                // One that has just left its last mailbox is there no more.
                Some((email, homes)) if !homes.is_empty() => {
                    Some(wanted.object(ctx, &params, &email, &homes).await?)
                }
                _ => None,
            };
            match object {
                Some(object) => got.list.push(object),
                None => got.not_found.push(id),
            }
        }
        value(got)
    })
}

async fn all_ids(ctx: &Context, account: AccountId) -> Result<Vec<String>> {
    let hits = query::hits(ctx.store(), account, &Filter::And(Vec::new())).await?;
    Ok(hits.into_iter().map(|hit| ids::of_email(hit.email)).collect())
}

/// Where an email is.
type Homes = Vec<(MailboxId, Message)>;

/// What a call asks for, checked once.
struct Wanted {
    properties: Vec<&'static Property>,
    headers: Vec<header::Wanted>,
    part_properties: Vec<String>,
}

impl Wanted {
    fn of(params: &Params) -> Result<Self> {
        let part_properties = match &params.body_properties {
            None => body::DEFAULT_PART_PROPERTIES.map(str::to_owned).to_vec(),
            Some(names) => {
                let known = |n: &str| body::PART_PROPERTIES.contains(&n);
                let mut names_of = names.iter().map(String::as_str);
                unknown("bodyProperties", names_of.find(|n| !known(n)))?;
                names.clone()
            }
        };
        let mut wanted = Self { properties: Vec::new(), headers: Vec::new(), part_properties };
        let Some(names) = &params.properties else {
            wanted.properties = email::PROPERTIES.iter().filter(|p| p.by_default).collect();
            return Ok(wanted);
        };
        if names.len() > MOST_PROPERTIES {
            let reason = format!("{MOST_PROPERTIES} names at most");
            return Err(Error::argument("properties", reason));
        }
        let names: BTreeSet<&str> = names.iter().map(String::as_str).chain(["id"]).collect();
        for name in names {
            match (email::find(name), header::wanted(name)) {
                (Some(property), _) => wanted.properties.push(property),
                (None, Some(header)) => wanted.headers.push(header),
                (None, None) => unknown("properties", Some(name))?,
            }
        }
        Ok(wanted)
    }

    fn has(&self, name: &str) -> bool {
        self.properties.iter().any(|p| p.name == name)
    }

    async fn object(
        &self,
        ctx: &Context,
        params: &Params,
        email: &Email,
        homes: &[(MailboxId, Message)],
    ) -> Result<Value> {
        let tree = Tree::of(&email.index);
        let shape = tree.shape(0);
        let mut view = View {
            email,
            home: Home::of(homes),
            tree,
            shape,
            part_properties: &self.part_properties,
            header: None,
            body_values: Map::new(),
            remote_images: false,
        };
        if !self.headers.is_empty() || self.has("headers") {
            let header = email.index.parts.first().map(|root| root.header.clone());
            view.header = Some(ctx.store().range(email, header.unwrap_or_default()).await?);
        }
        if self.has("bodyValues") {
            view.body_values = body_values(ctx, params, &view).await?;
        }
        if self.has("hasRemoteImages") {
            let page = crate::letter::source(ctx.store(), email).await?;
            view.remote_images = crate::letter::asks_outside(page).await?;
        }
        let own = self.properties.iter().map(|p| (p.name.to_owned(), (p.value)(&view)));
        let bytes = view.header.as_deref().unwrap_or_default();
        let headers = self.headers.iter().map(|h| (h.property.clone(), h.value(bytes)));
        Ok(Value::Object(own.chain(headers).collect()))
    }
}

/// Names in one `properties`: all there are, and twice as many header fields.
const MOST_PROPERTIES: usize = 100;

fn unknown(argument: &str, name: Option<&str>) -> Result<()> {
    match name {
        Some(name) => {
            let shown: String = name.chars().take(60).collect();
            Err(Error::argument(argument, format!("there is no property {shown:?}")))
        }
        None => Ok(()),
    }
}

/// `bodyValues`: the text parts that were asked for, each once (RFC 8621 §4.2).
async fn body_values(
    ctx: &Context,
    params: &Params,
    view: &View<'_>,
) -> Result<Map<String, Value>> {
    let mut wanted = BTreeSet::new();
    if params.fetch_text_body_values || params.fetch_all_body_values {
        wanted.extend(&view.shape.text);
    }
    if params.fetch_html_body_values || params.fetch_all_body_values {
        wanted.extend(&view.shape.html);
    }
    if params.fetch_all_body_values {
        wanted.extend(&view.shape.attachments);
    }
    let most = match params.max_body_value_bytes {
        0 => limits::BODY_VALUE_BYTES,
        asked => asked.min(limits::BODY_VALUE_BYTES),
    };
    let mut values = Map::new();
    for at in wanted {
        let text = |p: &&Part| p.media_type == "text" && p.kind == mparser::PartKind::Leaf;
        if let Some(part) = view.tree.part(at).filter(text) {
            let value = body_value(ctx, view.email, part, most).await?;
            values.insert(at.to_string(), value);
        }
    }
    Ok(values)
}

async fn body_value(ctx: &Context, email: &Email, part: &Part, most: usize) -> Result<Value> {
    let most = ctx.take_body_bytes(most);
    let (text, cut) = body::text(ctx.store(), email, part, most).await?;
    Ok(json!({
        "value": text,
        "isEncodingProblem": body::has_encoding_problem(&email.index, part),
        "isTruncated": cut,
    }))
}
