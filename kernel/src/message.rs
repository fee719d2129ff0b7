//! Messages of Jupyter's protocol, as far as the front must understand them.
//!
//! On the wire a message is a list of frames: who it is for, `<IDS|MSG>`, a signature, and the signed parts (header, header of
//! the request it belongs to, metadata, content, buffers). What is passed on is passed on as these frames.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;
use zeromq::ZmqMessage;

const DELIMITER: &[u8] = b"<IDS|MSG>";

/// What of a header the front looks at; all is empty in the header of "no request".
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(crate) struct Header {
    pub(crate) msg_id: String,
    pub(crate) msg_type: String,
    /// Who has sent it.
    pub(crate) session: String,
}

/// One message: its frames, and what they say.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Whom it is for or from, outermost first.
    pub(crate) route: Vec<Bytes>,
    signature: Bytes,
    /// Header, parent header, metadata, content, and buffers if there are any.
    pub(crate) parts: Vec<Bytes>,
    pub(crate) header: Header,
    /// The request that this one belongs to.
    pub(crate) parent: Header,
}

impl Message {
    /// # Errors
    /// What is wrong with the frames.
    pub(crate) fn parse(frames: ZmqMessage) -> Result<Self> {
        let mut route = frames.into_vec();
        let delimiter = route.iter().position(|frame| frame == DELIMITER).context("a message without a delimiter")?;
        let mut rest = route.split_off(delimiter).into_iter().skip(1);
        let signature = rest.next().context("a message without a signature")?;
        let parts: Vec<Bytes> = rest.collect();
        ensure!(parts.len() >= 4, "a message of {} parts", parts.len());
        let header = serde_json::from_slice(&parts[0]).context("a message without a header")?;
        let parent = serde_json::from_slice(&parts[1]).unwrap_or_default();
        Ok(Self { route, signature, parts, header, parent })
    }

    pub(crate) fn frames(self) -> ZmqMessage {
        let mut frames = self.route;
        frames.push(Bytes::from_static(DELIMITER));
        frames.push(self.signature);
        frames.extend(self.parts);
        ZmqMessage::try_from(frames).expect("there are at least two frames")
    }

    /// What it says; `null` if that is no JSON.
    pub(crate) fn content(&self) -> Value {
        serde_json::from_slice(&self.parts[3]).unwrap_or_default()
    }

    /// What a `status` message says.
    pub(crate) fn is_status(&self, state: &str) -> bool {
        self.header.msg_type == "status" && self.content()["execution_state"] == state
    }
}

/// Makes messages of the front's own, and knows who else may.
#[derive(Debug)]
pub(crate) struct Signer {
    key: String,
    session: String,
}

impl Signer {
    pub(crate) fn new(key: &str) -> Self {
        Self { key: key.to_owned(), session: Uuid::new_v4().to_string() }
    }

    /// True if whoever wrote the message knows the key.
    pub(crate) fn accepts(&self, message: &Message) -> bool {
        let Some(mac) = self.mac(&message.parts) else {
            return true;
        };
        let text = message.signature.as_ref();
        let decoded: Option<Vec<u8>> = (text.len() % 2 == 0)
            .then(|| text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect())
            .flatten();
        decoded.is_some_and(|signature| mac.verify_slice(&signature).is_ok())
    }

    /// True if what was asked there was asked by the front itself.
    pub(crate) fn is_own(&self, header: &Header) -> bool {
        header.session == self.session
    }

    /// A message of the front's own that belongs to the request with this header (as it was received).
    pub(crate) fn make(&self, msg_type: &str, route: Vec<Bytes>, parent: &Bytes, content: &Value) -> Message {
        let msg_id = Uuid::new_v4().to_string();
        let header = json!({
            "msg_id": msg_id, "msg_type": msg_type, "session": self.session, "username": "kernel",
            "date": humantime::format_rfc3339_micros(SystemTime::now()).to_string(), "version": "5.3",
        });
        let parts = [header.to_string().into(), parent.clone(), "{}".into(), content.to_string().into()].to_vec();
        let header = Header { msg_id, msg_type: msg_type.to_owned(), session: self.session.clone() };
        let parent = serde_json::from_slice(parent).unwrap_or_default();
        Message { route, signature: self.sign(&parts), parts, header, parent }
    }

    /// The same message with another content.
    pub(crate) fn rewritten(&self, mut message: Message, content: &Value) -> Message {
        message.parts[3] = content.to_string().into();
        message.signature = self.sign(&message.parts);
        message
    }

    fn sign(&self, parts: &[Bytes]) -> Bytes {
        let Some(mac) = self.mac(parts) else {
            return Bytes::new();
        };
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }

    /// `None` if the connection file has no key: then nothing is signed.
    fn mac(&self, parts: &[Bytes]) -> Option<Hmac<Sha256>> {
        if self.key.is_empty() {
            return None;
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).expect("a key of any length will do");
        parts.iter().for_each(|part| mac.update(part));
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_has_the_same_frames() {
        let frames: Vec<Bytes> =
            ["client", "<IDS|MSG>", "00", "{\"msg_id\": \"1\",  \"msg_type\": \"x\"}", "{}", "{}", "{ }", "\u{0}buffer"]
                .map(Bytes::from)
                .to_vec();
        let message = Message::parse(ZmqMessage::try_from(frames.clone()).unwrap()).unwrap();
        assert_eq!((message.header.msg_type.as_str(), message.parent.clone()), ("x", Header::default()));
        assert_eq!(message.frames().into_vec(), frames);
    }

    #[test]
    fn only_who_knows_the_key_is_heard() {
        let signer = Signer::new("secret");
        let made =
            signer.make("status", vec![], &Bytes::from_static(b"{\"msg_id\": \"7\"}"), &json!({"execution_state": "idle"}));
        assert!(signer.accepts(&made) && made.is_status("idle") && made.parent.msg_id == "7");
        assert!(!Signer::new("guess").accepts(&made));
        let mut forged = made.clone();
        forged.parts[3] = "{\"execution_state\": \"busy\"}".into();
        assert!(!signer.accepts(&forged));
        forged.signature = "zz".into();
        assert!(!signer.accepts(&forged));
        assert!(signer.accepts(&signer.rewritten(made, &json!({"execution_state": "busy"}))));
        assert!(Signer::new("").accepts(&forged), "without a key nothing is signed");
    }

    #[test]
    fn frames_that_are_no_message_are_refused() {
        for frames in
            [vec!["a"], vec!["<IDS|MSG>"], vec!["<IDS|MSG>", "", "{}", "{}", "{}"], vec!["<IDS|MSG>", "", "?", "{}", "{}", "{}"]]
        {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            assert!(Message::parse(ZmqMessage::try_from(frames).unwrap()).is_err());
        }
    }
}
