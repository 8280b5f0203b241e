//! What a repository is registered with: checked, its secrets sealed before anybody else sees them, and what was left out taken
//! from what is there.
//!
//! Must not know HTTP, nor how secrets are used.

use actors::vault::{NoKey, Purpose, Vault};
use actors::workspace::CloneUrl;
use domain::{Access, CloneAs, Repo, RepoName, Sealed, StatusApi};

use super::dto::{PutRepo, PutStatuses, STATUS_FORGES};
use super::problem::{Code, Problem};

/// Bytes of a token.
const MAX_TOKEN_BYTES: usize = 4096;
/// Bytes of a private key.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// What there is to propose.
pub(super) struct Facts {
    pub(super) clone_url: String,
    pub(super) webhook_secret: Sealed,
    pub(super) access: Access,
    pub(super) approve_forks: bool,
}

/// The registration that is wanted, given the one of before.
pub(super) fn of(
    vault: &Vault,
    name: &RepoName,
    wanted: PutRepo,
    before: Option<&Repo>,
) -> Result<Facts, Problem> {
    let url = CloneUrl::parse(&wanted.clone_url).map_err(|error| Problem::invalid("clone_url", error))?;
    let seal = |purpose: Purpose<'_>, text: &str| seal(vault, name.as_str(), purpose, text);
    let webhook_secret = match (&wanted.webhook_secret, before) {
        (Some(secret), _) => {
            let bytes = secret.len();
            if !(8..=256).contains(&bytes) {
                return Err(Problem::invalid(
                    "webhook_secret",
                    format!("{bytes} bytes, 8 to 256 are allowed"),
                ));
            }
            forge::check_secret(secret).map_err(|why| Problem::invalid("webhook_secret", why))?;
            seal(Purpose::Webhooks, secret)?
        }
        (None, Some(repo)) => repo.webhook_secret.clone(),
        (None, None) => {
            return Err(Problem::invalid("webhook_secret", "is missing, and the repository is new"));
        }
    };
    let clone = clone_as(&url, &wanted, before, &seal)?;
    let status = match wanted.statuses {
        None => before.and_then(|repo| repo.access.status.clone()),
        Some(None) => None,
        Some(Some(wanted)) => {
            Some(status_api(wanted, before.and_then(|repo| repo.access.status.as_ref()), &seal)?)
        }
    };
    let approve_forks = wanted.approve_forks.or(before.map(|repo| repo.approve_forks)).unwrap_or(true);
    Ok(Facts { clone_url: url.redacted(), webhook_secret, access: Access { clone, status }, approve_forks })
}

/// Seals a text, or says what this node lacks for it.
pub(super) fn seal(vault: &Vault, repo: &str, purpose: Purpose<'_>, text: &str) -> Result<Sealed, Problem> {
    let sealed = vault.seal(repo, purpose, text);
    Ok(Sealed(sealed.map_err(|NoKey| Problem::new(Code::Conflict, NoKey.to_string()))?.into()))
}

type Seal<'a> = &'a dyn Fn(Purpose<'_>, &str) -> Result<Sealed, Problem>;

fn clone_as(
    url: &CloneUrl,
    wanted: &PutRepo,
    before: Option<&Repo>,
    seal: Seal<'_>,
) -> Result<CloneAs, Problem> {
    let written = url.written_token();
    let token = match (&wanted.token, &written) {
        (Some(Some(_)), Some(_)) => {
            return Err(Problem::invalid(
                "token",
                "the clone URL has a user or a password, too; one of them is allowed",
            ));
        }
        (Some(Some(token)), None) => Some(token),
        (_, written) => written.as_ref(),
    };
    let key = wanted.ssh_key.as_ref().and_then(Option::as_ref);
    match (token, key) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid("ssh_key", "there is a token, too; one of them is allowed"))
        }
        (Some(token), None) => {
            check_token("token", token)?;
            url.clone()
                .with_token(token)
                .map_err(|error| Problem::invalid("token", format!("the clone URL: {error}")))?;
            Ok(CloneAs::Token(seal(Purpose::Fetching, token)?))
        }
        (None, Some(key)) => {
            check_key(key)?;
            url.clone()
                .with_key(key)
                .map_err(|error| Problem::invalid("ssh_key", format!("the clone URL: {error}")))?;
            Ok(CloneAs::Key(seal(Purpose::Fetching, key)?))
        }
        (None, None) => kept(url, wanted, before),
    }
}

/// What it was cloned with before, unless that is to go. It is for the server that it was given for.
fn kept(url: &CloneUrl, wanted: &PutRepo, before: Option<&Repo>) -> Result<CloneAs, Problem> {
    let Some(repo) = before else { return Ok(CloneAs::Nobody) };
    let field = match &repo.access.clone {
        CloneAs::Token(_) if wanted.token.is_none() => "token",
        CloneAs::Key(_) if wanted.ssh_key.is_none() => "ssh_key",
        _ => return Ok(CloneAs::Nobody),
    };
    let same = CloneUrl::parse(&repo.clone_url).is_ok_and(|old| old.is_beside(url));
    if !same {
        let why = "the clone URL is of another server: give it again, or null for none";
        return Err(Problem::invalid(field, why));
    }
    Ok(repo.access.clone.clone())
}

fn status_api(wanted: PutStatuses, before: Option<&StatusApi>, seal: Seal<'_>) -> Result<StatusApi, Problem> {
    let PutStatuses { forge, api_url, token } = wanted;
    if !STATUS_FORGES.contains(&forge.as_str()) {
        let why = format!("{} are allowed", STATUS_FORGES.join(", "));
        return Err(Problem::invalid("statuses.forge", why));
    }
    let parsed = url::Url::parse(&api_url).ok().filter(|url| {
        let web = matches!(url.scheme(), "https" | "http") && url.has_host();
        let plain = url.username().is_empty() && url.password().is_none();
        web && plain && url.query().is_none() && url.fragment().is_none()
    });
    let api_url = parsed.filter(|_| api_url.len() <= 1024).ok_or_else(|| {
        let why = "a URL with http or https is expected, without user, password, ? and #, at most 1024 bytes";
        Problem::invalid("statuses.api_url", why)
    })?;
    let api_url = api_url.as_str().trim_end_matches('/').to_owned();
    let token = match (token, before) {
        (Some(token), _) => {
            check_token("statuses.token", &token)?;
            seal(Purpose::Statuses, &token)?
        }
        // It is for the API that it was given for.
        (None, Some(before)) if before.api_url == api_url && before.forge == forge => before.token.clone(),
        (None, _) => {
            let why = "is missing: there is none of before for this forge and API";
            return Err(Problem::invalid("statuses.token", why));
        }
    };
    Ok(StatusApi { forge, api_url, token })
}

fn check_token(field: &'static str, token: &str) -> Result<(), Problem> {
    let fine = |c: char| !c.is_control() && !c.is_whitespace();
    if !(1..=MAX_TOKEN_BYTES).contains(&token.len()) || !token.chars().all(fine) {
        let why = format!("1 to {MAX_TOKEN_BYTES} bytes without spaces or control characters are allowed");
        return Err(Problem::invalid(field, why));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), Problem> {
    let key = key.trim();
    let framed = key.starts_with("-----BEGIN ") && key.ends_with("-----");
    if key.len() > MAX_KEY_BYTES || !framed || key.contains('\0') {
        let why = format!("a private key as ssh-keygen writes it is expected, at most {MAX_KEY_BYTES} bytes");
        return Err(Problem::invalid("ssh_key", why));
    }
    Ok(())
}
