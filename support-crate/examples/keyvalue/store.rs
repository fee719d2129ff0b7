//! What is kept, and the language in which it is asked for: a few commands of Redis', so that its tools work here.
//!
//! Nothing in this file waits or knows a socket: bytes come in, bytes go out. So it can be tried on its own, and be put on another runtime.

use std::collections::HashMap;

/// What one command may have: words, and bytes of all of them together.
const MOST_WORDS: usize = 1024;
const MOST_BYTES: usize = 1 << 20;

/// When so much is to be sent, it is sent before more is answered.
const ENOUGH: usize = 64 << 10;

/// Keys and their values, up to a limit.
#[derive(Debug)]
pub(crate) struct Store {
    values: HashMap<Box<[u8]>, Box<[u8]>>,
    bytes: usize,
    most: usize,
}

/// What is to be done once the replies are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Next {
    /// Read more.
    Read,
    /// Answer on: there may be whole commands left.
    Answer,
    /// Part: the client has said goodbye, or cannot be understood.
    Part,
}

/// A command that breaks the rules: what is wrong with it.
type Broken = &'static str;

impl Store {
    /// A store of at most this many bytes, keys and values together.
    pub(crate) fn new(most: usize) -> Self {
        Self { values: HashMap::new(), bytes: 0, most }
    }

    /// Answers the commands that have come whole, in order, and takes them from `input`.
    pub(crate) fn answer(&mut self, input: &mut Vec<u8>, replies: &mut Vec<u8>) -> Next {
        let mut taken = 0;
        let next = loop {
            if replies.len() >= ENOUGH {
                break Next::Answer;
            }
            match command(&input[taken..]) {
                Ok(None) => break Next::Read,
                Ok(Some((words, length))) => {
                    let parts = words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"quit"));
                    self.answer_one(&words, replies);
                    taken += length;
                    if parts {
                        break Next::Part;
                    }
                }
                Err(broken) => {
                    error(replies, broken);
                    break Next::Part;
                }
            }
        };
        input.drain(..taken);
        next
    }

    fn answer_one(&mut self, words: &[&[u8]], replies: &mut Vec<u8>) {
        let Some((name, arguments)) = words.split_first() else { return };
        match (name.to_ascii_lowercase().as_slice(), arguments) {
            (b"ping", []) => replies.extend_from_slice(b"+PONG\r\n"),
            (b"ping" | b"echo", [text]) => bulk(replies, text),
            (b"get", [key]) => match self.values.get(*key) {
                Some(value) => bulk(replies, value),
                None => replies.extend_from_slice(b"$-1\r\n"),
            },
            (b"set", [key, value]) => match self.set(key, value) {
                true => replies.extend_from_slice(b"+OK\r\n"),
                false => error(replies, "OOM the store is full"),
            },
            (b"del", keys @ [_, ..]) => {
                let removed = keys.iter().filter(|key| self.remove(key)).count();
                number(replies, removed);
            }
            (b"dbsize", []) => number(replies, self.values.len()),
            (b"quit", _) => replies.extend_from_slice(b"+OK\r\n"),
            (b"ping" | b"echo" | b"get" | b"set" | b"del" | b"dbsize", _) => error(replies, "ERR wrong number of arguments"),
            _ => error(replies, "ERR unknown command; there are PING, ECHO, GET, SET, DEL, DBSIZE, QUIT"),
        }
    }

    /// False where there is no room.
    fn set(&mut self, key: &[u8], value: &[u8]) -> bool {
        let before = self.values.get(key).map_or(0, |old| key.len() + old.len());
        let after = self.bytes - before + key.len() + value.len();
        if after > self.most {
            return false;
        }
        self.bytes = after;
        match self.values.get_mut(key) {
            Some(old) => *old = value.into(),
            None => drop(self.values.insert(key.into(), value.into())),
        }
        true
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let Some(value) = self.values.remove(key) else { return false };
        self.bytes -= key.len() + value.len();
        true
    }
}

fn bulk(replies: &mut Vec<u8>, bytes: &[u8]) {
    line(replies, b'$', bytes.len());
    replies.extend_from_slice(bytes);
    replies.extend_from_slice(b"\r\n");
}

fn number(replies: &mut Vec<u8>, number: usize) {
    line(replies, b':', number);
}

fn line(replies: &mut Vec<u8>, sign: u8, number: usize) {
    replies.push(sign);
    replies.extend_from_slice(number.to_string().as_bytes());
    replies.extend_from_slice(b"\r\n");
}

fn error(replies: &mut Vec<u8>, what: &str) {
    replies.push(b'-');
    replies.extend_from_slice(what.as_bytes());
    replies.extend_from_slice(b"\r\n");
}

/// Its words, and how many bytes it has.
type Command<'a> = (Vec<&'a [u8]>, usize);

/// The words of the first command, and how many bytes it has; `None` while it has not come whole.
fn command(input: &[u8]) -> Result<Option<Command<'_>>, Broken> {
    let Some(&first) = input.first() else { return Ok(None) };
    if first != b'*' {
        // As a person types it.
        let Some((text, length)) = text_line(input, MOST_BYTES)? else { return Ok(None) };
        return Ok(Some((text.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect(), length)));
    }
    let Some((count, mut at)) = count(input, b'*', MOST_WORDS)? else { return Ok(None) };
    let (mut words, mut bytes) = (Vec::with_capacity(count), 0);
    for _ in 0..count {
        let Some((length, head)) = count_at(input, at, MOST_BYTES)? else { return Ok(None) };
        bytes += length;
        if bytes > MOST_BYTES {
            return Err("ERR a command of more than 1 MiB");
        }
        at += head;
        let Some(word) = input.get(at..at + length) else { return Ok(None) };
        let Some(end) = input.get(at + length..at + length + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err("ERR a word does not end where it should");
        }
        words.push(word);
        at += length + 2;
    }
    Ok(Some((words, at)))
}

fn count_at(input: &[u8], at: usize, most: usize) -> Result<Option<(usize, usize)>, Broken> {
    input.get(at..).map_or(Ok(None), |rest| count(rest, b'$', most))
}

/// The number in a line that begins with this sign, and the line's length.
fn count(input: &[u8], sign: u8, most: usize) -> Result<Option<(usize, usize)>, Broken> {
    let Some((text, length)) = text_line(input, 32)? else { return Ok(None) };
    let number = text.split_first().filter(|(first, _)| **first == sign).and_then(|(_, digits)| std::str::from_utf8(digits).ok());
    match number.and_then(|digits| digits.parse().ok()) {
        Some(number) if number <= most => Ok(Some((number, length))),
        Some(_) => Err("ERR a command of more than 1 MiB, or of more than 1024 words"),
        None => Err("ERR that is no command"),
    }
}

/// The first line without its end, and its length with it.
fn text_line(input: &[u8], longest: usize) -> Result<Option<(&[u8], usize)>, Broken> {
    match input.iter().take(longest).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some((input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1))),
        None if input.len() >= longest => Err("ERR that is no command"),
        None => Ok(None),
    }
}
