//! Lists of hosts that may be reached, and nothing else.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Ports that a host may be reached at if its entry names none: HTTPS and HTTP.
const PORTS: [u16; 2] = [443, 80];

/// The longest name of a host, in bytes (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// A list of hosts: `example.org`, `*.example.org` (all below it, and not itself), `10.0.0.7:8080`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hosts(Vec<String>);

/// An entry that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no host: example.org, *.example.org, 10.0.0.7:8080")]
pub struct NoHost(String);

/// Splits the port off an entry or a target.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        // An address of version 6 without a port has colons, too.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Writes a host as lists do: small letters, no dot at its end, no brackets.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    // Addresses can be written in several ways.
    host.parse::<IpAddr>().map_or(host, |address| address.to_canonical().to_string())
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

/// Reads where a request wants to go: a host as lists write it, and a port.
pub(super) fn target(text: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = split(text);
    let host = plain(host);
    let port = port.map_or(Some(usual), |port| port.parse().ok())?;
    (is_name(&host) || host.parse::<IpAddr>().is_ok()).then_some((host, port))
}

/// Tells whether all that `name` stands for is among what `other` does: a host, or all below one. What is below `a.b` is
/// below `b`.
fn is_part(name: &str, other: &str) -> bool {
    let below = |name: &str, end: &str| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    match (name.strip_prefix("*."), other.strip_prefix("*.")) {
        (Some(name), Some(end)) => name == end || below(name, end),
        (Some(_), None) => false,
        (None, Some(end)) => below(name, end),
        (None, None) => name == other,
    }
}

impl Hosts {
    fn entry(text: &str) -> Result<String, NoHost> {
        let no_host = || NoHost(text.to_owned());
        let (host, port) = split(text.trim());
        let host = plain(host);
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let is_address = host.parse::<IpAddr>().is_ok();
        // Everything below a top-level name is nearly everything.
        let is_wide = name != host && !name.contains('.');
        if !(is_address || is_name(name)) || is_wide {
            return Err(no_host());
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        match port.map(str::parse::<u16>) {
            None => Ok(host),
            Some(Ok(port)) if port > 0 => Ok(format!("{host}:{port}")),
            Some(_) => Err(no_host()),
        }
    }

    /// Tells whether an entry covers a host at a port.
    fn covers(entry: &str, host: &str, port: u16) -> bool {
        let (name, own) = split(entry);
        let is_port = own.map_or(PORTS.contains(&port), |own| own.parse() == Ok(port));
        is_port && is_part(plain(host).as_str(), plain(name).as_str())
    }

    /// Returns the entry for what two of them both cover, if they do.
    fn meet(one: &str, other: &str) -> Option<String> {
        let ((host, port), (other_host, other_port)) = (split(one), split(other));
        let host = match () {
            () if is_part(host, other_host) => host,
            () if is_part(other_host, host) => other_host,
            () => return None,
        };
        let is_usual = |port: &str| port.parse().is_ok_and(|port| PORTS.contains(&port));
        match (port, other_port) {
            (None, None) => Some(host.to_owned()),
            (Some(port), Some(other)) if port == other => Some(format!("{host}:{port}")),
            (Some(port), None) | (None, Some(port)) if is_usual(port) => Some(format!("{host}:{port}")),
            _ => None,
        }
    }

    /// Tells whether a host may be asked for at a port.
    #[must_use]
    pub fn allow(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|entry| Self::covers(entry, host, port))
    }

    /// Tells whether a host that may be asked for may be found at an address: at every one that is public, and at others
    /// only if the list names these themselves. So no name leads into this machine or its network by what somebody
    /// answers for it.
    #[must_use]
    pub(super) fn allow_address(&self, address: IpAddr, port: u16) -> bool {
        is_public(address) || self.allow(&address.to_canonical().to_string(), port)
    }

    fn has(&self, entry: &str) -> bool {
        self.0.iter().any(|own| Self::meet(own, entry).as_deref() == Some(entry))
    }

    /// Tells whether everything on this list is on `other`, too.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|entry| other.has(entry))
    }

    /// Tells whether nothing is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is on both lists.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |other| (one, other)));
        let mut both: Vec<String> = pairs.filter_map(|(one, other)| Self::meet(one, other)).collect();
        both.sort();
        both.dedup();
        Self(both)
    }
}

impl FromStr for Hosts {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let entries = text.split([',', ' ']).filter(|entry| !entry.is_empty());
        let mut hosts: Vec<String> = entries.map(Self::entry).collect::<Result<_, _>>()?;
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() { Err(NoHost(text.to_owned())) } else { Ok(Self(hosts)) }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// Tells whether an address is one of the public internet.
///
/// Source: the IANA registries of special-purpose addresses (RFC 6890 and what updates it).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_special = (a, b, c) == (192, 0, 0) || (a == 198 && (b == 18 || b == 19)) || a == 0 || a >= 240;
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || is_shared
        || is_special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // Ways to addresses of version 4: translated (RFC 6052), and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
        // Teredo, documentation, and the rest of what is set aside below 2001::/23.
        [0x2001, ..0x200, ..] | [0x2001, 0xdb8, ..] => false,
        // Global unicast (RFC 4291) is all that is given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Hosts {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_allowed_by_its_name_or_by_what_it_is_below() {
        let list = hosts("Example.ORG, *.example.org registry.local:8080 [::1]:9 10.0.0.7");
        assert_eq!(list.to_string(), "*.example.org,10.0.0.7,[::1]:9,example.org,registry.local:8080");
        for (target, allowed) in [
            ("example.org:443", true),
            ("EXAMPLE.org.:80", true),
            ("example.org:22", false),
            ("static.example.org:443", true),
            ("a.b.example.org:443", true),
            ("evilexample.org:443", false),
            ("example.org.evil.com:443", false),
            ("registry.local:8080", true),
            ("registry.local:443", false),
            ("[::1]:9", true),
            ("[0:0:0:0:0:0:0:1]:9", true),
            ("10.0.0.7:443", true),
            ("[::ffff:10.0.0.7]:443", true),
            ("10.0.0.8:443", false),
        ] {
            let (host, port) = super::target(target, 443).unwrap();
            assert_eq!(list.allow(&host, port), allowed, "{target}");
        }
        for target in ["", "a b:443", "a:b", "a..b:1", "x/y:443", "a:70000", "*.example.org:443"] {
            assert_eq!(super::target(target, 443), None, "{target}");
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for text in
            ["", ",", "*", "*.", "*.com", "a.*.b", "http://example.org", "a.b/c", "a.b:0", "a.b:x", "ä.de"]
        {
            assert!(text.parse::<Hosts>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_can_be_within_another() {
        for (inner, outer, within) in [
            ("a.io", "a.io,b.io", true),
            ("a.io", "*.a.io", false),
            ("x.a.io", "*.a.io", true),
            ("*.x.a.io", "*.a.io", true),
            ("*.a.io", "*.a.io", true),
            ("*.a.io", "x.a.io", false),
            ("a.io:8080", "a.io", false),
            ("a.io", "a.io:8080", false),
            ("a.io:443", "a.io", true),
            ("*.a.io:443", "*.a.io", true),
            ("*.x.a.io:80", "*.a.io", true),
            ("*.a.io:8080", "*.a.io", false),
            ("*.a.io", "*.a.io:443", false),
            ("*.xa.io", "*.a.io", false),
            ("x.a.io:443", "*.a.io:443", true),
            ("[::1]:443", "[::1]", true),
        ] {
            assert_eq!(hosts(inner).is_within(&hosts(outer)), within, "{inner} {outer}");
        }
        assert_eq!(hosts("a.io,*.b.io").common(&hosts("*.x.b.io,a.io,c.io")), hosts("a.io,*.x.b.io"));
        assert_eq!(hosts("*.a.io").common(&hosts("x.a.io:443,*.a.io:80")), hosts("x.a.io:443,*.a.io:80"));
        // Neither is within the other.
        assert_eq!(hosts("*.a.io:443").common(&hosts("x.a.io,*.a.io:80")), hosts("x.a.io:443"));
        assert_eq!(hosts("a.io").common(&hosts("b.io")), Hosts::default());
    }

    #[test]
    fn addresses_of_this_machine_and_its_network_are_told_apart() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.31.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::101:101", true),
            ("2002:7f00:1::", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
        let list = hosts("a.io,127.0.0.1:8080");
        assert!(list.allow_address("127.0.0.1".parse().unwrap(), 8080));
        assert!(!list.allow_address("127.0.0.1".parse().unwrap(), 443));
        assert!(list.allow_address("1.1.1.1".parse().unwrap(), 443));
    }
}
