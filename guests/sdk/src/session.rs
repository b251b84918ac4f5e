//! One agent from `init` to its end: buffers, order of calls, answers. The exports are a thin layer over this.

use crate::buffer::{Buffer, Output};
use crate::error::{Error, number};
use crate::tensor::Ports;
use crate::{Agent, words};

/// Buffers that may be lent at a time, and answers that may be held.
const BUFFERS_MAX: usize = 64;

pub(crate) struct Session<A> {
    agent: Option<A>,
    lent: Vec<Buffer>,
    /// Answers; the first `held` are valid until `reset`.
    outputs: Vec<Output>,
    held: usize,
    described: String,
}

impl<A> Default for Session<A> {
    fn default() -> Self {
        Self { agent: None, lent: Vec::new(), outputs: Vec::new(), held: 0, described: String::new() }
    }
}

impl<A: Agent> Session<A> {
    /// A buffer of `len` bytes until `reset`; null where there is none, which `last_error` explains.
    pub(crate) fn alloc(&mut self, len: usize) -> *mut u8 {
        match self.lend(len) {
            Ok(pointer) => pointer,
            Err(error) => {
                words::set(format_args!("{error}"));
                std::ptr::null_mut()
            }
        }
    }

    fn lend(&mut self, len: usize) -> Result<*mut u8, Error> {
        if self.lent.len() == BUFFERS_MAX {
            return Err(Error::host(number::BUFFER, format!("more than {BUFFERS_MAX} buffers without a `reset`")));
        }
        let mut buffer = Buffer::default();
        buffer.resize(len.max(1))?;
        let pointer = buffer.bytes_mut().as_mut_ptr();
        self.lent.push(buffer);
        Ok(pointer)
    }

    /// Forgets every buffer and answer.
    pub(crate) fn reset(&mut self) {
        self.lent.clear();
        self.outputs.truncate(1);
        self.held = 0;
    }

    /// Starts the agent.
    pub(crate) fn init(&mut self, pointer: *const u8, len: usize) -> Result<(), Error> {
        if self.agent.is_some() {
            return Err(Error::host(number::ORDER, "`init` was called twice"));
        }
        self.agent = Some(A::init(lent(&self.lent, pointer, len)?)?);
        Ok(())
    }

    /// The answer to an input, valid until `reset`.
    pub(crate) fn infer(&mut self, pointer: *const u8, len: usize) -> Result<&[u8], Error> {
        let input = lent(&self.lent, pointer, len)?;
        let Some(agent) = &mut self.agent else { return Err(not_started("infer")) };
        if self.held == BUFFERS_MAX {
            return Err(Error::host(number::BUFFER, format!("more than {BUFFERS_MAX} answers without a `reset`")));
        }
        if self.held == self.outputs.len() {
            self.outputs.push(Output::default());
        }
        let output = &mut self.outputs[self.held];
        output.clear();
        agent.infer(input, output)?;
        self.held += 1;
        Ok(output.bytes())
    }

    /// What the agent takes and gives, as JSON.
    pub(crate) fn describe(&mut self) -> Result<&[u8], Error> {
        let Some(agent) = &self.agent else { return Err(not_started("describe")) };
        let [input, output] = [agent.input(), agent.output()].map(|ports: Ports| ports.json());
        self.described = format!(r#"{{"input":{input},"output":{output}}}"#);
        Ok(self.described.as_bytes())
    }
}

fn not_started(call: &str) -> Error {
    Error::host(number::ORDER, format!("`{call}` was called before `init` succeeded"))
}

/// The bytes at `pointer`, which must lie in a buffer that was lent.
fn lent(buffers: &[Buffer], pointer: *const u8, len: usize) -> Result<&[u8], Error> {
    let found = buffers.iter().find_map(|buffer| {
        let start = (pointer as usize).checked_sub(buffer.bytes().as_ptr() as usize)?;
        buffer.bytes().get(start..start.checked_add(len)?)
    });
    found.ok_or_else(|| {
        let address = pointer as usize;
        Error::host(number::BUFFER, format!("{len} bytes at {address} lie in no buffer that `alloc` gave"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with its configuration and its input.
    struct Echo(Vec<u8>);

    impl Agent for Echo {
        fn init(config: &[u8]) -> Result<Self, Error> {
            if config == b"bad" { Err(Error::config("`bad`")) } else { Ok(Self(config.to_vec())) }
        }

        fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
            if input.is_empty() {
                return Err(Error::input("0 bytes, at least 1 expected"));
            }
            output.write(&[&self.0, input].concat())
        }
    }

    #[expect(unsafe_code, reason = "what a host does")]
    fn lend(session: &mut Session<Echo>, bytes: &[u8]) -> *const u8 {
        let pointer = session.alloc(bytes.len());
        assert!(!pointer.is_null());
        // SAFETY: `alloc` gave this many bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, bytes.len()) };
        pointer
    }

    fn started() -> Session<Echo> {
        let mut session = Session::default();
        let config = lend(&mut session, b"c:");
        session.init(config, 2).expect("a good configuration");
        session.reset();
        session
    }

    #[test]
    fn answers_stay_until_reset_and_their_memory_stays_on() {
        let mut session = started();
        let one = lend(&mut session, b"one");
        let first = session.infer(one, 3).expect("an answer").as_ptr();
        let two = lend(&mut session, b"two");
        let second = session.infer(two, 3).expect("an answer");
        assert_eq!(second, b"c:two");
        assert_ne!(second.as_ptr(), first);
        assert_eq!(session.outputs[0].bytes(), b"c:one");
        session.reset();
        let again = lend(&mut session, b"new");
        assert_eq!(session.infer(again, 3).expect("an answer").as_ptr(), first);
    }

    #[test]
    fn a_pointer_is_good_only_within_a_lent_buffer() {
        let mut session = started();
        let pointer = lend(&mut session, b"12345");
        assert_eq!(session.infer(pointer.wrapping_add(2), 3), Ok(b"c:345".as_slice()));
        for (pointer, len) in [
            (pointer, 6),
            (pointer.wrapping_add(5), 1),
            (pointer.wrapping_sub(1), 2),
            (pointer, usize::MAX),
            (std::ptr::null(), 1),
        ] {
            let error = session.infer(pointer, len).expect_err("not lent");
            assert_eq!(error.number(), number::BUFFER);
        }
        session.reset();
        assert_eq!(session.infer(pointer, 5).expect_err("forgotten").number(), number::BUFFER);
    }

    #[test]
    fn calls_out_of_order_are_refused() {
        let mut session = Session::<Echo>::default();
        let bad = lend(&mut session, b"bad");
        assert_eq!(session.infer(bad, 3).expect_err("not started").number(), number::ORDER);
        assert_eq!(session.describe().expect_err("not started").number(), number::ORDER);
        assert_eq!(session.init(bad, 3).expect_err("bad").to_string(), "config: `bad`");
        let good = lend(&mut session, b"");
        session.init(good, 0).expect("a second try after an error");
        assert_eq!(session.init(good, 0).expect_err("twice").number(), number::ORDER);
        assert_eq!(session.describe(), Ok(br#"{"input":"bytes","output":"bytes"}"#.as_slice()));
    }

    #[test]
    fn buffers_without_reset_are_bounded() {
        let mut session = started();
        for _ in 0..BUFFERS_MAX {
            assert!(!session.alloc(0).is_null());
        }
        assert!(session.alloc(0).is_null());
        session.reset();
        assert!(!session.alloc(0).is_null());
    }
}
