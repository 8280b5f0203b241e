//! Webhooks as forges send them, genuine and not (bad-input rows 1, 2, 8, 15, 22).

mod support;

use std::collections::BTreeMap;

use domain::EventKind;
use forge::{Forge, Received, Rejected, receive};
use support::{NOW, SECRET, SHA, hmac};

fn push_body() -> Vec<u8> {
    format!(
        r#"{{"ref":"refs/heads/main","before":"{0}","after":"{SHA}","deleted":false,
            "head_commit":{{"message":"Fix $(rm -rf /)\n\nbody","author":{{"name":"Spoofed"}}}},
            "pusher":{{"name":"p"}},"sender":{{"login":"ada"}},"repository":{{"full_name":"o/r"}}}}"#,
        "0".repeat(40)
    )
    .into_bytes()
}

fn github(event: &'static str, body: &[u8]) -> BTreeMap<&'static str, String> {
    let signature = format!("sha256={}", hex::encode(hmac(SECRET.as_bytes(), &[body])));
    BTreeMap::from([
        ("x-github-event", event.to_owned()),
        ("x-github-delivery", "d-1".to_owned()),
        ("x-hub-signature-256", signature),
    ])
}

fn event(received: &Received) -> domain::Event {
    let mut told = received.deliveries();
    assert_eq!((told.all.len(), told.reason()), (1, None), "{received:?}");
    told.all.remove(0).event
}

#[test]
fn a_genuine_push_becomes_an_event() -> Result<(), Rejected> {
    let body = push_body();
    let received = receive(&github("push", &body), &body, SECRET, NOW)?;
    assert_eq!((received.forge, received.key.as_str()), (Forge::GitHub, "github:d-1"));
    assert_eq!(received.repository.name, "o/r");
    let event = event(&received);
    assert_eq!(
        (event.kind, event.git_ref.as_str(), event.commit.as_str()),
        (EventKind::Push, "refs/heads/main", SHA)
    );
    // Who pushed, never the author field; the title is data, whatever it holds.
    assert_eq!((event.sender.as_str(), event.title.as_str()), ("ada", "Fix $(rm -rf /)"));
    assert_eq!(event.before, "");
    Ok(())
}

#[test]
fn a_missing_wrong_or_unreadable_signature_is_refused_before_parsing() {
    let body = b"not json at all";
    for (signature, why) in [
        (None, "X-Hub-Signature-256 is missing"),
        (Some("sha256=zz".to_owned()), "it is not hexadecimal"),
        (Some("sha1=00".to_owned()), "X-Hub-Signature-256 does not begin with sha256="),
        (Some("sha256=00".to_owned()), "it does not match the body"),
        (Some(format!("sha256={}", hex::encode(hmac(b"other", &[body])))), "it does not match the body"),
        (Some("sha256=".to_owned()), "it does not match the body"),
    ] {
        let mut headers = github("push", body);
        headers.remove("x-hub-signature-256");
        headers.extend(signature.map(|signature| ("x-hub-signature-256", signature)));
        assert_eq!(receive(&headers, body, SECRET, NOW), Err(Rejected::Unauthorized { why }));
    }
}

/// How long a comparison takes is the library's promise (`Mac::verify_slice`); that it compares everything is shown here.
#[test]
fn a_signature_that_differs_in_any_bit_or_length_is_refused() -> Result<(), Rejected> {
    let body = push_body();
    let right = hmac(SECRET.as_bytes(), &[&body]);
    let with = |signature: &[u8]| {
        let mut headers = github("push", &body);
        headers.insert("x-hub-signature-256", format!("sha256={}", hex::encode(signature)));
        receive(&headers, &body, SECRET, NOW)
    };
    with(&right)?;
    let refused = Err(Rejected::Unauthorized { why: "it does not match the body" });
    for bit in 0..right.len() * 8 {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(with(&wrong), refused, "bit {bit}");
    }
    for length in 0..right.len() {
        assert_eq!(with(&right[..length]), refused, "{length} bytes");
    }
    assert_eq!(with(&[right, vec![0]].concat()), refused);
    Ok(())
}

#[test]
fn gitea_and_forgejo_are_told_from_github_whose_headers_they_also_send() -> Result<(), Rejected> {
    let body = push_body();
    let signature = hex::encode(hmac(SECRET.as_bytes(), &[&body]));
    let mut headers = github("push", &body);
    headers.insert("x-gitea-event", "push".to_owned());
    headers.insert("x-gitea-delivery", "g-1".to_owned());
    headers.insert("x-gitea-signature", signature.clone());
    assert_eq!(receive(&headers, &body, SECRET, NOW)?.key, "gitea:g-1");
    headers.insert("x-forgejo-event", "push".to_owned());
    headers.insert("x-forgejo-delivery", "f-1".to_owned());
    let unsigned = receive(&headers, &body, SECRET, NOW);
    assert_eq!(unsigned, Err(Rejected::Unauthorized { why: "X-Forgejo-Signature is missing" }));
    headers.insert("x-forgejo-signature", signature);
    assert_eq!(receive(&headers, &body, SECRET, NOW)?.key, "forgejo:f-1");
    Ok(())
}

#[test]
fn the_generic_webhook_is_signed_as_standard_webhooks_says() -> Result<(), Rejected> {
    // Key, id, time and body of the example in the Standard Webhooks specification's libraries.
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = br#"{"test": 2432232314}"#;
    let headers = |signature: &str, timestamp: u64| {
        BTreeMap::from([
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature.to_owned()),
        ])
    };
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let then = 1_614_265_330;
    // The signature is right, so it is the body that is refused.
    let answer = receive(&headers(signature, then), body, secret, then);
    assert!(matches!(answer, Err(Rejected::Malformed { .. })), "{answer:?}");
    for (signature, now) in [(signature, then + 301), ("v1,AAAA", then), ("v2,abc", then)] {
        let answer = receive(&headers(signature, then), body, secret, now);
        assert!(matches!(answer, Err(Rejected::Unauthorized { .. })), "{signature} at {now}: {answer:?}");
    }
    let body = format!(r#"{{"ref":"refs/tags/v1","after":"{SHA}","sender":"bot","message":"m"}}"#);
    let signed = hmac(SECRET.as_bytes(), &[b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.", body.as_bytes()]);
    use base64::Engine as _;
    let signature = format!("v1,AAAA v1,{}", base64::engine::general_purpose::STANDARD.encode(signed));
    let received = receive(&headers(&signature, then), body.as_bytes(), SECRET, then)?;
    assert_eq!(event(&received).git_ref, "refs/tags/v1");
    Ok(())
}

#[test]
fn a_signed_id_says_what_is_the_same_whatever_the_body() -> Result<(), Rejected> {
    use base64::Engine as _;
    let sent = |id: &'static str, body: &str| {
        let signed = hmac(SECRET.as_bytes(), &[format!("{id}.{NOW}.{body}").as_bytes()]);
        let headers = BTreeMap::from([
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", NOW.to_string()),
            ("webhook-signature", format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(signed))),
        ]);
        let received = receive(&headers, body.as_bytes(), SECRET, NOW)?;
        Ok::<_, Rejected>((received.key, received.digest))
    };
    let body = |message: &str| format!(r#"{{"ref":"refs/heads/x","after":"{SHA}","message":"{message}"}}"#);
    let (first, again) = (sent("a", &body("m"))?, sent("a", &body("other"))?);
    assert_eq!((&*first.0, &first), ("generic:a", &again));
    assert_ne!(first.1, sent("b", &body("m"))?.1, "the same push, made again, is another");
    Ok(())
}

#[test]
fn a_secret_that_begins_as_a_signing_key_must_be_one() {
    for secret in ["a plain secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        assert_eq!(forge::check_secret(secret), Ok(()), "{secret}");
    }
    for secret in ["whsec_***", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"] {
        assert_eq!(forge::check_secret(secret), Err("base64 is expected after whsec_"), "{secret}");
    }
}

#[test]
fn ping_deletion_and_unknown_events_are_answered_with_a_reason() -> Result<(), Rejected> {
    let deleted =
        format!(r#"{{"ref":"refs/heads/x","before":"{SHA}","after":"{}","deleted":true}}"#, "0".repeat(40));
    for (name, body, reason) in [
        ("ping", r#"{"zen":"z","repository":{"full_name":"o/r"}}"#, "ping"),
        ("push", deleted.as_str(), "deleted"),
        ("issues", r#"{"action":"opened"}"#, "issues"),
        ("no_such_event", "{}", "no_such_event"),
    ] {
        let received = receive(&github(name, body.as_bytes()), body.as_bytes(), SECRET, NOW)?;
        let told = received.deliveries();
        assert!(told.all.is_empty(), "{name}: {told:?}");
        assert!(told.reason().is_some_and(|why| why.contains(reason)), "{name}: {told:?}");
        assert!(!received.what.is_empty(), "{name}");
    }
    Ok(())
}

#[test]
fn bad_payloads_name_the_field() {
    let with = |git_ref: &str, after: &str| format!(r#"{{"ref":"{git_ref}","after":"{after}"}}"#);
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (body, named) in [
        (with("refs/heads/-x", SHA), "ref is"),
        (with("refs/heads/a..b", SHA), "ref is"),
        (with("refs/heads/a\\nb", SHA), "ref is"),
        (with("main", SHA), "ref is"),
        (with(&format!("refs/heads/{}", "x".repeat(300)), SHA), "ref is"),
        (with("refs/heads/main", "--upload-pack=x"), "after is"),
        ("{".to_owned(), "EOF"),
        (r#"{"after":"x"}"#.to_owned(), "ref"),
        (deep, "ref is missing"),
        (r#"{"ref":1e999999,"after":"x"}"#.to_owned(), "number"),
    ] {
        let answer = receive(&github("push", body.as_bytes()), body.as_bytes(), SECRET, NOW);
        let message = answer.map(|received| format!("{received:?}")).map_err(|e| e.to_string());
        let shown: String = body.chars().take(60).collect();
        assert!(matches!(&message, Err(why) if why.contains(named)), "{shown}: {message:?}");
    }
    let invalid = [b"{\"ref\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat();
    assert!(matches!(
        receive(&github("push", &invalid), &invalid, SECRET, NOW),
        Err(Rejected::Malformed { .. })
    ));
}

#[test]
fn a_form_is_unwrapped() -> Result<(), Rejected> {
    let json = String::from_utf8(push_body()).expect("text");
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish();
    let mut headers = github("push", body.as_bytes());
    headers.insert("content-type", "application/x-www-form-urlencoded".to_owned());
    assert_eq!(event(&receive(&headers, body.as_bytes(), SECRET, NOW)?).commit, SHA);
    Ok(())
}
