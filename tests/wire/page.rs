//! Plain HTTP on the broker's port: status pages for load balancers, metrics, and who may see them without a certificate
//! (Trapperkeeper's status API; RFC 9110, RFC 9112).

use super::site::Site;
use super::tls::both;
use super::upgrade::request;
use super::{Case, cases};

/// What is answered to such a request of `node.example`. Long pages differ from time to time.
fn page(site: &Site, request: &str) -> String {
    short(site.http(request.as_bytes()))
}

fn short(seen: String) -> String {
    match seen.split_once(' ') {
        Some((status, rest)) if rest.len() > 300 => {
            let (_, end) = rest.rsplit_once(", ").unwrap();
            format!("{status} and a long page, {end}")
        }
        _ => seen,
    }
}

fn get(site: &Site, path: &str) -> String {
    page(site, &line("GET", path, ""))
}

/// A request with these fields.
fn line(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// The same of a client without a certificate, with both versions of TLS.
fn nobody(site: &Site, request: &str) -> String {
    both(site, |version| short(site.request(site.pki.anonymous(version), request.as_bytes())))
}

const SIMPLE: &str = "/status/v1/simple";

pub const TABLE: &[Case] = cases! {
    601 "the simple status": |site| get(site, SIMPLE) => "200 running, end", "pages 2xx";
    602 "the simple status of a service": |site| get(site, "/status/v1/simple/broker-service") => "200 running, end", "pages 2xx";
    603 "the simple status of nobody": |site| get(site, "/status/v1/simple/nobody") => "404 not found: nobody, end", "pages 4xx";
    604 "all services": |site| get(site, "/status/v1/services") => "200 and a long page, end", "pages 2xx";
    605 "a level that there is not": |site| get(site, "/status/v1/services?level=all") => "400 {\"kind\":\"puppetlabs.orchestrator/validation-error\",\"msg\":\"Invalid value \\\"all\\\" for level: it must be one of critical, info, debug.\"}, end", "pages 4xx";
    606 "a service that there is not": |site| get(site, "/status/v1/services/%00") => "404 {\"kind\":\"service-not-found\",\"msg\":\"No status information found for service \\u0000\"}, end", "pages 4xx";
    607 "metrics": |site| get(site, "/metrics") => "200 and a long page, end", "pages 2xx";
    608 "metrics and a slash": |site| get(site, "/metrics/") => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    609 "HEAD": |site| page(site, &line("HEAD", SIMPLE, "")) => "200 , end", "pages 2xx";
    610 "HEAD of metrics": |site| page(site, &line("HEAD", "/metrics", "")) => "200 , end", "pages 2xx";
    611 "HEAD where there is no page": |site| page(site, &line("HEAD", "/pcp2/wire", "")) => "405 , end", "refused http-method";
    612 "POST": |site| page(site, &line("POST", SIMPLE, "Content-Length: 0\r\n")) => "405 Only GET and HEAD are possible here., end", "refused http-method";
    613 "OPTIONS": |site| page(site, &line("OPTIONS", SIMPLE, "")) => "405 Only GET and HEAD are possible here., end", "refused http-method";
    614 "GET in lower case": |site| page(site, &line("get", SIMPLE, "")) => "405 Only GET and HEAD are possible here., end", "refused http-method";
    615 "a query of 8,000 characters": |site| get(site, &format!("{SIMPLE}?{}", "x".repeat(8_000))) => "200 running, end", "pages 2xx";
    616 "a query of 20,000 characters": |site| get(site, &format!("{SIMPLE}?{}", "x".repeat(20_000))) => "431 Request header too large., end", "refused http-too-large";
    617 "1,000 levels, of which the last counts": |site| {
        get(site, &format!("/status/v1/services/status-service?{}level=critical", "level=debug&".repeat(1_000)))
    } => "200 {\"active_alerts\":[],\"detail_level\":\"critical\",\"service_name\":\"status-service\",\"service_status_version\":1,\"service_version\":\"0.1.0\",\"state\":\"running\",\"status\":{}}, end", "pages 2xx";
    618 "a second request behind the first": |site| {
        page(site, &[line("GET", SIMPLE, ""), line("GET", "/metrics", "")].concat())
    } => "200 running, end", "pages 2xx";
    619 "an upgrade behind the first": |site| {
        page(site, &[line("GET", SIMPLE, ""), request("/pcp2/wire")].concat())
    } => "200 running, end", "pages 2xx";
    620 "a body": |site| page(site, &[&line("GET", SIMPLE, "Content-Length: 5\r\n"), "hello"].concat()) => "200 running, end", "pages 2xx";
    621 "a body that does not come": |site| page(site, &line("GET", SIMPLE, "Content-Length: 1000000\r\n")) => "200 running, end", "pages 2xx";
    622 "a body in chunks": |site| {
        page(site, &[&line("GET", SIMPLE, "Transfer-Encoding: chunked\r\n"), "5\r\nhello\r\n0\r\n\r\n"].concat())
    } => "200 running, end", "pages 2xx";
    623 "a body of 1 MB": |site| {
        page(site, &[line("GET", SIMPLE, "Content-Length: 1000000\r\n"), "x".repeat(1_000_000)].concat())
    } => "200 running, end", "pages 2xx";
    624 "a wish to keep the connection": |site| page(site, &line("GET", SIMPLE, "Connection: keep-alive\r\n")) => "200 running, end", "pages 2xx";
    625 "a wish for a continuation": |site| {
        page(site, &line("GET", SIMPLE, "Expect: 100-continue\r\nContent-Length: 5\r\n"))
    } => "200 running, end", "pages 2xx";
    626 "HTTP/1.0, without a host, as load balancers ask": |site| page(site, &format!("GET {SIMPLE} HTTP/1.0\r\n\r\n")) => "200 running, end", "pages 2xx";
    627 "HEAD of HTTP/1.0": |site| page(site, &format!("HEAD {SIMPLE} HTTP/1.0\r\n\r\n")) => "200 , end", "pages 2xx";
    628 "HTTP/1.1 without a host": |site| page(site, &format!("GET {SIMPLE} HTTP/1.1\r\n\r\n")) => "400 No Host field., end", "refused http-host";
    629 "HTTP/1.0 where there is no page": |site| page(site, "GET /pcp2/wire HTTP/1.0\r\n\r\n") => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    630 "an absolute URI": |site| get(site, &format!("https://localhost{SIMPLE}")) => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    631 "dots": |site| get(site, "/status/v1/../../metrics") => "404 {\"kind\":\"not-found\",\"msg\":\"There is nothing at /status/v1/../../metrics.\"}, end", "pages 4xx";
    632 "an encoded slash": |site| get(site, "/status%2Fv1%2Fsimple") => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    633 "two slashes in front": |site| get(site, "//status/v1/simple") => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    634 "an upgrade at a page's path": |site| page(site, &request(SIMPLE)) => "404 Not found., end", "refused Not found.";
    635 "nothing at all below status": |site| get(site, "/status") => "404 {\"kind\":\"not-found\",\"msg\":\"There is nothing at /status.\"}, end", "pages 4xx";
    636 "nothing of the kind": |site| get(site, "/status/v2/simple") => "404 {\"kind\":\"not-found\",\"msg\":\"There is nothing at /status/v2/simple.\"}, end", "pages 4xx";
    637 "the root": |site| get(site, "/") => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
};

/// Where a client may come without a certificate.
pub const WANT_TABLE: &[Case] = cases! {
    701 "the status, without a certificate": |site| nobody(site, &line("GET", SIMPLE, "")) => "twice 200 running, end", "2 pages 2xx";
    702 "all services, without a certificate": |site| nobody(site, &line("GET", "/status/v1/services", "")) => "twice 200 and a long page, end", "2 pages 2xx";
    703 "metrics, without a certificate": |site| nobody(site, &line("GET", "/metrics", "")) => "twice 403 Metrics need a client certificate., end", "2 pages 4xx";
    704 "HEAD of metrics, without a certificate": |site| nobody(site, &line("HEAD", "/metrics", "")) => "twice 403 , end", "2 pages 4xx";
    705 "an upgrade, without a certificate": |site| nobody(site, &request("/pcp2/agent")) => "twice 403 No client certificate., end", "2 refused no-client-certificate";
    706 "an upgrade to PCP 1.0, without a certificate": |site| nobody(site, &request("/pcp")) => "twice 403 No client certificate., end", "2 refused no-client-certificate";
    707 "an upgrade where there is nothing, without a certificate": |site| nobody(site, &request("/nothing")) => "twice 403 No client certificate., end", "2 refused no-client-certificate";
    708 "POST, without a certificate": |site| nobody(site, &line("POST", SIMPLE, "")) => "twice 405 Only GET and HEAD are possible here., end", "2 refused http-method";
    709 "names in fields, without a certificate": |site| {
        nobody(site, &line("GET", "/metrics", "X-Client-Verify: SUCCESS\r\nX-Client-DN: CN=ctl.example\r\n"))
    } => "twice 403 Metrics need a client certificate., end", "2 pages 4xx";
    710 "no HTTP, without a certificate": |site| nobody(site, "\0\x01\x02\x03\r\n\r\n") => "twice 400 Not a HTTP/1.1 request., end", "2 refused http-malformed";
    711 "with a certificate": |site| both(site, |version| site.handshake(site.pki.agent("node.example", version))) => "twice 101, close 1000, end", "2 closed peer";
    712 "metrics with a certificate": |site| get(site, "/metrics") => "200 and a long page, end", "pages 2xx";
    713 "with a revoked certificate": |site| super::tls::certificate(site, |params| {
        params.serial_number = Some(rcgen::SerialNumber::from(super::site::REVOKED));
    }) => "twice alert CertificateRevoked", "2 refused certificate-revoked";
    714 "with a certificate of another CA": |site| {
        let other = crate::support::pki::Pki::new(crate::support::pki::Keys::P256).certify("node.example", |_| {});
        both(site, |version| site.handshake(site.pki.presenting(other.clone(), version)))
    } => "twice alert DecryptError", "2 refused certificate-unknown-ca";
    715 "with a certificate without a name": |site| super::tls::certificate(site, |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
    }) => "twice end", "2 refused certificate-without-name";
};
