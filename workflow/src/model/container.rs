//! `container` and `services`. Rules: actions/languageservices `workflow-parser/src/model/converter/container.ts`.

use super::fields::{Dynamic, Located, entries, get, keys, text, text_list};
use crate::complaints::Complaints;
use crate::template::{Content, Template};

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Its image; none when the whole container is computed.
    pub image: Option<Located<Dynamic<String>>>,
    /// Variables.
    pub env: Option<Template>,
    /// Ports, as `80` or `8080:80`.
    pub ports: Vec<Located<Dynamic<String>>>,
    /// Volumes, as `name:/path`.
    pub volumes: Vec<Located<Dynamic<String>>>,
    /// Words for `docker create`.
    pub options: Option<Located<Dynamic<String>>>,
    /// Who pulls the image: `username` and `password`.
    pub credentials: Option<Template>,
    /// Of a service: what runs instead of the image's entrypoint.
    pub entrypoint: Option<Located<Dynamic<String>>>,
    /// Of a service: what it is given.
    pub command: Option<Located<Dynamic<String>>>,
    /// The keys that are there, with their places.
    pub keys: Vec<Located<String>>,
    /// What the file says.
    pub written: Template,
}

/// A container beside a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The name under which the job finds it.
    pub name: Located<String>,
    /// What runs.
    pub container: Container,
}

pub(super) fn container(template: &Template, c: &mut Complaints) -> Container {
    let is_map = matches!(template.content, Content::Map(_));
    let of = |key: &str| get(template, key).and_then(text);
    let list = |key: &str| get(template, key).map(text_list).unwrap_or_default();
    let image = if is_map { of("image") } else { text(template) };
    if image.is_none() && !template.is_dynamic() {
        c.invalid(template.at, "Container image cannot be empty");
    }
    Container {
        image,
        env: get(template, "env").cloned(),
        ports: list("ports"),
        volumes: list("volumes"),
        options: of("options"),
        credentials: get(template, "credentials").cloned(),
        entrypoint: of("entrypoint"),
        command: of("command"),
        keys: keys(template),
        written: template.clone(),
    }
}

pub(super) fn services(template: &Template, c: &mut Complaints) -> Vec<Service> {
    entries(template)
        .map(|entry| Service { name: entry.name(), container: container(entry.value, c) })
        .collect()
}
