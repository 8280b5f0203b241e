//! `container` and `services`, as text.

use super::text::{checked, env, maybe, variables};
use crate::complaints::Complaints;
use crate::model::{self, Service};
use crate::template::Content;

pub(super) fn container(found: &model::Container, of: &str, c: &mut Complaints) -> domain::Container {
    if matches!(found.written.content, Content::Expression(_)) && found.image.is_none() {
        c.unsupported(
            found.written.at,
            format!("{of} is computed as a whole; give its image as an expression"),
        );
    }
    for volume in &found.volumes {
        if let model::Dynamic::Is(text) = &volume.value
            && text.starts_with(['/', '.', '~'])
            && text.contains(':')
        {
            let shown = crate::diagnostic::cut(text);
            c.unsupported(
                volume.at,
                format!("volumes are by name, as name:/path; {shown:?} is a folder of the machine"),
            );
        }
    }
    let list = |items: &[model::Located<model::Dynamic<String>>]| items.iter().map(super::text_of).collect();
    let credentials = variables(found.credentials.as_ref());
    let credential = |name: &str| {
        let found = credentials.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    domain::Container {
        image: found.image.as_ref().map(|image| checked(image, "image", c)).unwrap_or_default(),
        env: env(found.env.as_ref(), &format!("{of}.env"), c),
        ports: list(&found.ports),
        volumes: list(&found.volumes),
        options: maybe(found.options.as_ref()),
        credentials: (credential("username"), credential("password")),
        entrypoint: maybe(found.entrypoint.as_ref()),
        command: maybe(found.command.as_ref()),
    }
}

pub(super) fn services(found: &[Service], c: &mut Complaints) -> Vec<domain::Service> {
    let service = |one: &Service| {
        let name = one.name.value.clone();
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(fine) {
            let why = "1 to 63 letters, digits, -, _ and . are expected";
            c.unsupported(
                one.name.at,
                format!("the name of the service {:?}: {why}", crate::diagnostic::cut(&name)),
            );
        }
        domain::Service { container: container(&one.container, &format!("services.{name}"), c), name }
    };
    found.iter().map(service).collect()
}
