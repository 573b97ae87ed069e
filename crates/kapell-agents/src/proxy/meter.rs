//! Usage, read from a reply as it passes.

use kapell_core::price::Tokens;
use serde::Deserialize;
use serde_json::Value;

use super::api::Dialect;

/// A line of a stream, or a whole reply, longer than this is not looked into.
const BYTES_MAX: usize = 32 << 20;

/// Reads one reply.
#[derive(Debug)]
pub(crate) struct Meter {
    dialect: Dialect,
    is_stream: bool,
    /// What of the reply is not read yet: the line that has begun, or all of it if it is no stream.
    rest: Vec<u8>,
    /// What was stated so far, by the provider's own names; what is stated later counts.
    stated: serde_json::Map<String, Value>,
    /// Whether what was found is the last word.
    is_final: bool,
}

/// What a reply has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) tokens: Tokens,
    /// How many of those put into a cache are kept there for an hour.
    pub(crate) hour: u64,
    /// What of it the provider stated.
    pub(crate) certainty: Certainty,
}

/// What of its cost a provider has stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// All of it.
    Exact,
    /// What was read.
    Read,
    /// Nothing.
    Nothing,
}

impl Meter {
    pub(crate) fn new(dialect: Dialect, is_stream: bool) -> Self {
        Self { dialect, is_stream, rest: Vec::new(), stated: serde_json::Map::new(), is_final: false }
    }

    /// Takes what passes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        if !self.is_stream {
            if self.rest.len() + bytes.len() <= BYTES_MAX {
                self.rest.extend_from_slice(bytes);
            }
            return;
        }
        let mut bytes = bytes;
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            if self.rest.is_empty() {
                self.line(&bytes[..end]);
            } else {
                self.rest.extend_from_slice(&bytes[..end]);
                let line = std::mem::take(&mut self.rest);
                self.line(&line);
            }
            bytes = &bytes[end + 1..];
        }
        if self.rest.len() + bytes.len() <= BYTES_MAX {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Tells whether the provider has stated all that the reply cost.
    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        // Most lines are pieces of text: they are not parsed.
        let marks: [&[u8]; 2] = [b"\"usage", b"\"message_stop\""];
        if !marks.iter().any(|mark| contains(data, mark)) {
            return;
        }
        if let Ok(value) = serde_json::from_slice::<Value>(data.trim_ascii()) {
            self.event(&value);
        }
    }

    fn event(&mut self, value: &Value) {
        let kind = value["type"].as_str().unwrap_or_default();
        let (usage, is_final) = match self.dialect {
            Dialect::Messages if kind == "message_start" => (&value["message"]["usage"], false),
            Dialect::Messages if kind == "message_stop" => {
                self.is_final = !self.stated.is_empty();
                return;
            }
            Dialect::Messages => (&value["usage"], kind == "message"),
            Dialect::Responses if self.is_stream => {
                (&value["response"]["usage"], kind != "response.created" && kind != "response.in_progress")
            }
            Dialect::Responses | Dialect::Chat => (&value["usage"], true),
            // It grows with each piece; the last one is the one that says why it ended.
            Dialect::Gemini => (&value["usageMetadata"], !value["candidates"][0]["finishReason"].is_null()),
        };
        if let Some(usage) = usage.as_object() {
            let stated = usage.iter().filter(|(_, value)| !value.is_null());
            self.stated.extend(stated.map(|(name, value)| (name.clone(), value.clone())));
            self.is_final |= is_final;
        }
    }

    /// Says what the reply has cost. If it does not say so itself, the most is assumed: `read` tokens read, unless the
    /// provider said how many, and `written` ones. How much of it came says nothing: what a model thinks is not always
    /// shown, and a reply that is sent as a whole was written before.
    pub(crate) fn finish(mut self, read: u64, written: u64) -> Reading {
        let rest = std::mem::take(&mut self.rest);
        if self.is_stream {
            self.line(&rest);
        } else if let Ok(value) = serde_json::from_slice::<Value>(&rest) {
            match value.as_array() {
                // Gemini streams a list where it is not asked for events.
                Some(pieces) => pieces.iter().for_each(|piece| self.event(piece)),
                None => self.event(&value),
            }
        }
        let found = (!self.stated.is_empty()).then_some(Value::Object(self.stated));
        let hour = found
            .as_ref()
            .map_or(0, |usage| usage["cache_creation"]["ephemeral_1h_input_tokens"].as_u64().unwrap_or(0));
        match found.and_then(|usage| tokens(self.dialect, &usage)) {
            Some(tokens) if self.is_final => Reading { tokens, hour, certainty: Certainty::Exact },
            Some(known) => {
                let tokens = Tokens { output: known.output.max(written), ..known };
                Reading { tokens, hour, certainty: Certainty::Read }
            }
            None => {
                let tokens = Tokens { input: read, output: written, ..Tokens::default() };
                Reading { tokens, hour, certainty: Certainty::Nothing }
            }
        }
    }
}

pub(super) fn contains(text: &[u8], mark: &[u8]) -> bool {
    text.windows(mark.len()).any(|window| window == mark)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AnthropicUsage {
    input_tokens: u64,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OpenAiUsage {
    #[serde(alias = "prompt_tokens")]
    input_tokens: u64,
    #[serde(alias = "completion_tokens")]
    output_tokens: u64,
    #[serde(alias = "prompt_tokens_details")]
    input_tokens_details: Option<OpenAiDetails>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OpenAiDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct GeminiUsage {
    prompt_token_count: u64,
    tool_use_prompt_token_count: u64,
    cached_content_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
}

/// Reads a statement of usage as tokens of kinds that do not overlap.
fn tokens(dialect: Dialect, usage: &Value) -> Option<Tokens> {
    Some(match dialect {
        Dialect::Messages => {
            let usage = AnthropicUsage::deserialize(usage).ok()?;
            Tokens {
                input: usage.input_tokens,
                cache_read: usage.cache_read_input_tokens.unwrap_or(0),
                cache_write: usage.cache_creation_input_tokens.unwrap_or(0),
                output: usage.output_tokens,
            }
        }
        Dialect::Responses | Dialect::Chat => {
            let usage = OpenAiUsage::deserialize(usage).ok()?;
            let details = usage.input_tokens_details.unwrap_or_default();
            let cache_read = details.cached_tokens.unwrap_or(0);
            let cache_write = details.cache_write_tokens.unwrap_or(0);
            let input = usage.input_tokens.saturating_sub(cache_read).saturating_sub(cache_write);
            Tokens { input, cache_read, cache_write, output: usage.output_tokens }
        }
        Dialect::Gemini => {
            let usage = GeminiUsage::deserialize(usage).ok()?;
            let read = usage.prompt_token_count.saturating_add(usage.tool_use_prompt_token_count);
            Tokens {
                input: read.saturating_sub(usage.cached_content_token_count),
                cache_read: usage.cached_content_token_count,
                cache_write: 0,
                output: usage.candidates_token_count.saturating_add(usage.thoughts_token_count),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialect: Dialect, text: &str, chunk: usize) -> Reading {
        let mut meter = Meter::new(dialect, text.starts_with("data") || text.starts_with("event"));
        text.as_bytes().chunks(chunk).for_each(|bytes| meter.take(bytes));
        meter.finish(1_000, 500)
    }

    const MESSAGES: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
        {\"input_tokens\":10,\"cache_read_input_tokens\":20,\"cache_creation_input_tokens\":30,\"output_tokens\":1}}}\n\n\
        data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n\
        data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":40}}\n\n\
        data: {\"type\":\"message_stop\"}\n\n";

    #[test]
    fn every_dialect_states_its_usage_however_the_reply_is_cut_into_pieces() {
        let tokens =
            |input, cache_read, cache_write, output| Tokens { input, cache_read, cache_write, output };
        for (dialect, text, expected) in [
            (Dialect::Messages, MESSAGES, tokens(10, 20, 30, 40)),
            (
                Dialect::Messages,
                "{\"type\":\"message\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\
                 \"cache_read_input_tokens\":null}}",
                tokens(1, 0, 0, 2),
            ),
            (
                Dialect::Responses,
                "data: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n\
                 data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":60,\"output_tokens\":7,\
                 \"input_tokens_details\":{\"cached_tokens\":20,\"cache_write_tokens\":30}}}}\n\n",
                tokens(10, 20, 30, 7),
            ),
            (
                Dialect::Chat,
                "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":null}\n\n\
                 data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":7,\
                 \"prompt_tokens_details\":{\"cached_tokens\":20}}}\n\ndata: [DONE]\n\n",
                tokens(10, 20, 0, 7),
            ),
            (
                Dialect::Gemini,
                "data: {\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":30}}\r\n\r\n\
                 data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":30,\
                 \"cachedContentTokenCount\":20,\"candidatesTokenCount\":3,\"thoughtsTokenCount\":4}}\r\n\r\n",
                tokens(10, 20, 0, 7),
            ),
            (
                Dialect::Gemini,
                "[{\"usageMetadata\":{\"promptTokenCount\":3}},{\"candidates\":[{\"finishReason\":\"STOP\"}],\
                 \"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":9}}]",
                tokens(3, 0, 0, 9),
            ),
        ] {
            for chunk in [1, 7, 64, text.len()] {
                let reading = read(dialect, text, chunk);
                assert_eq!(
                    reading,
                    Reading { tokens: expected, hour: 0, certainty: Certainty::Exact },
                    "{dialect:?} {chunk}"
                );
            }
        }
    }

    #[test]
    fn what_is_cached_for_an_hour_is_told_apart() {
        let text = MESSAGES.replace(
            "\"cache_creation_input_tokens\":30",
            "\"cache_creation_input_tokens\":30,\"cache_creation\":{\"ephemeral_5m_input_tokens\":18,\
             \"ephemeral_1h_input_tokens\":12}",
        );
        let reading = read(Dialect::Messages, &text, 64);
        assert_eq!((reading.tokens.cache_write, reading.hour), (30, 12));
    }

    #[test]
    fn what_breaks_off_is_booked_as_the_most_that_it_can_have_cost() {
        let cut = MESSAGES.find("data: {\"type\":\"message_delta\"").unwrap();
        let reading = read(Dialect::Messages, &MESSAGES[..cut], 50);
        assert_eq!(reading.certainty, Certainty::Read);
        // What was read is stated at the beginning.
        assert_eq!((reading.tokens.read(), reading.tokens.output), (60, 500));
        let nothing = read(Dialect::Chat, "data: {\"choices\":[]}\n", 5);
        assert_eq!(nothing.certainty, Certainty::Nothing);
        assert_eq!((nothing.tokens.read(), nothing.tokens.output), (1_000, 500));
    }
}
