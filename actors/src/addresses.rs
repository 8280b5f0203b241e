//! Which addresses this node calls for others: a name is looked up once, what it comes to is checked, and nothing else is
//! called. So nobody who can name a server makes the node ask what only the node can reach.
//!
//! Must not know what is asked there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who named a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// An administrator, in the repository's registration: a forge may well be in a private network.
    Registered,
    /// Somebody else: what a repository says, for one.
    Others,
}

/// Why a server is not called.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The name has no address.
    #[error("cannot find the address of {host}: {source}")]
    NotFound {
        /// The name.
        host: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// Nobody may have it called.
    #[error(
        "{host} is {address}, which is never called: it is no server's, or one that gives away a machine's credentials"
    )]
    Never {
        /// The name.
        host: String,
        /// What it comes to.
        address: IpAddr,
    },
    /// Only an administrator may have it called.
    #[error(
        "{host} is {address}, an address of this machine or of a private network: only the server of the repository's own URL may have one"
    )]
    Private {
        /// The name.
        host: String,
        /// What it comes to.
        address: IpAddr,
    },
}

/// The addresses of a server, all of which may be called. At least one.
///
/// # Errors
/// [`Refused`]: of several addresses, each must be allowed.
pub async fn resolve(host: &str, port: u16, trust: Trust) -> Result<Vec<SocketAddr>, Refused> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let not_found = |source| Refused::NotFound { host: name.to_owned(), source };
    let found: Vec<SocketAddr> = match name.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::net::lookup_host((name, port)).await.map_err(not_found)?.collect(),
    };
    if found.is_empty() {
        return Err(not_found(std::io::ErrorKind::NotFound.into()));
    }
    for address in &found {
        check(name, address.ip(), trust)?;
    }
    Ok(found)
}

fn check(host: &str, address: IpAddr, trust: Trust) -> Result<(), Refused> {
    let host = host.to_owned();
    match reach(address) {
        Reach::Never => Err(Refused::Never { host, address }),
        Reach::Private if trust == Trust::Others => Err(Refused::Private { host, address }),
        Reach::Private | Reach::Public => Ok(()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Never,
}

/// By the registries of special addresses (RFC 6890), and the metadata services of clouds.
fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    // Where some clouds keep the metadata that others keep at a link-local address.
    let metadata = [[100, 100, 100, 200], [192, 0, 0, 192]].contains(&address.octets());
    if metadata || address.is_link_local() || a == 0 || a >= 224 {
        return Reach::Never;
    }
    let private = address.is_private()
        || address.is_loopback()
        || address.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b));
    if private { Reach::Private } else { Reach::Public }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let [a, b, ..] = address.segments();
    // An IPv4 address in another form is what that is.
    if let Some(inner) = embedded(address) {
        return reach_v4(inner);
    }
    let metadata = address == Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
    if metadata || address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() {
        return Reach::Never;
    }
    // 2000::/3 is what is given out; of it, what tunnels to anywhere and what is for documents is not called.
    let public =
        (0x2000..0x4000).contains(&a) && a != 0x2002 && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8));
    if public { Reach::Public } else { Reach::Private }
}

/// The IPv4 address in `::ffff:a.b.c.d`, in `::a.b.c.d` and in `64:ff9b::a.b.c.d`.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let inner = Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    let compatible = (a, b, c, d, e, f) == (0, 0, 0, 0, 0, 0) && g != 0;
    let translated = (a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0);
    address.to_ipv4_mapped().or_else(|| (compatible || translated).then_some(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 24 of docs/bad-input.md: each kind of address, and its other spellings.
    #[test]
    fn addresses_are_known_for_what_they_are_in_every_spelling() {
        for (address, wanted) in [
            ("140.82.121.4", Reach::Public),
            ("2606:50c0:8000::153", Reach::Public),
            ("10.1.2.3", Reach::Private),
            ("172.31.0.1", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("127.0.0.1", Reach::Private),
            ("127.9.9.9", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("198.18.0.1", Reach::Private),
            ("192.0.2.1", Reach::Private),
            ("::1", Reach::Private),
            ("fd12::1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("::7f00:1", Reach::Private),
            ("::127.0.0.1", Reach::Private),
            ("64:ff9b::10.0.0.1", Reach::Private),
            ("2002:7f00:1::", Reach::Private),
            ("2001:db8::1", Reach::Private),
            ("169.254.169.254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("64:ff9b::a9fe:a9fe", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("fe80::1", Reach::Never),
            ("100.100.100.200", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("::", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("ff02::1", Reach::Never),
        ] {
            let parsed: Option<IpAddr> = address.parse().ok();
            assert_eq!(parsed.map(reach), Some(wanted), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_is_as_good_as_what_it_comes_to() {
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            let others = resolve(host, 80, Trust::Others).await.map(drop).unwrap_err();
            assert!(matches!(others, Refused::Private { .. }), "{host}: {others}");
            let known = resolve(host, 80, Trust::Registered).await.map(|all| all.len());
            assert!(known.is_ok_and(|number| number > 0), "{host}");
        }
        let never = resolve("169.254.169.254", 80, Trust::Registered).await.map(drop).unwrap_err();
        assert!(never.to_string().contains("never called"), "{never}");
        let absent = resolve("no-such-host.invalid", 80, Trust::Registered).await.map(drop).unwrap_err();
        assert!(matches!(absent, Refused::NotFound { .. }), "{absent}");
    }
}
