//! A reply on its way: what it costs, and what is kept of it; and one that a recording gives.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Response, StatusCode,
    body::{Frame, Incoming, SizeHint},
};
use kapell_core::price::Tokens;

use super::{Ask, Body, Call, Desk, Failure, Reserved, Room, whole};
use crate::proxy::{
    Seen,
    cassette::Exchange,
    meter::{Certainty, Meter},
};

/// What is booked when a reply has ended, or nobody waits for it any more: when this is dropped.
pub(super) struct Bill {
    desk: Arc<Desk>,
    upstream: String,
    model: String,
    body: Bytes,
    /// What is set aside, and what the reply has said of its cost so far; `None` once that is dealt with.
    open: Option<(Reserved, Meter)>,
    _room: Room,
}

impl Bill {
    /// Opens the one of a request that is sent now.
    pub(super) fn open(call: &Call<'_>, ask: Ask, reserved: Reserved, room: Room) -> Self {
        let open = Some((reserved, Meter::new(ask.dialect, false)));
        let (desk, upstream) = (call.desk.clone(), call.name.to_owned());
        Self { desk, upstream, model: ask.model, body: ask.body, open, _room: room }
    }

    /// Has `meter` read the reply, of which nothing has come yet.
    pub(super) fn read_as(&mut self, meter: Meter) {
        if let Some((_, known)) = &mut self.open {
            *known = meter;
        }
    }

    /// Takes in that the request costs nothing: what was set aside comes back.
    pub(super) fn waive(&mut self) {
        self.open = None;
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        let Some((Reserved { hold, price, read, written }, meter)) = self.open.take() else { return };
        let reading = meter.finish(read, written);
        let mut tokens: Tokens = reading.tokens;
        let most = hold.amount();
        let cost = price.map(|price| match reading.certainty {
            Certainty::Exact => price.cost_with_hour(tokens, reading.hour),
            // A guess is not more than what was set aside.
            Certainty::Read => price.cost_with_hour(tokens, reading.hour).min(most.usd_micros),
            // Nobody knows how much of it was put into a cache.
            Certainty::Nothing => most.usd_micros,
        });
        let is_exact = reading.certainty == Certainty::Exact;
        if !is_exact {
            tokens.output = tokens.output.min(most.tokens.saturating_sub(tokens.read()));
        }
        if let Some((key, total, percent)) = hold.settle(tokens, cost, !is_exact) {
            if is_exact {
                self.desk.remember(key, &self.model, &self.body, tokens.read());
            }
            let (upstream, model) = (std::mem::take(&mut self.upstream), std::mem::take(&mut self.model));
            (self.desk.config.sink)(key, Seen::Used { upstream, model, total, percent });
        }
    }
}

/// What is kept when a reply has ended.
pub(super) struct Running {
    desk: Arc<Desk>,
    exchange: Exchange,
    bytes: Vec<u8>,
}

impl Running {
    pub(super) fn new(desk: &Arc<Desk>, exchange: Exchange) -> Self {
        Self { desk: desk.clone(), exchange, bytes: Vec::new() }
    }
}

/// A reply on its way. What passes is read, not held up.
pub(super) struct Metered {
    inner: Incoming,
    bill: Option<Bill>,
    tape: Option<Running>,
}

impl Metered {
    pub(super) fn new(inner: Incoming, bill: Bill, tape: Option<Running>) -> Self {
        Self { inner, bill: Some(bill), tape }
    }

    /// Books what the reply has cost. As early as can be: an agent may end as soon as it has heard the last word.
    fn settle(&mut self) {
        drop(self.bill.take());
    }

    fn meter(&mut self) -> Option<&mut Meter> {
        self.bill.as_mut()?.open.as_mut().map(|(_, meter)| meter)
    }

    fn end(&mut self, whole: bool) {
        self.settle();
        if let Some(Running { desk, exchange, bytes }) = self.tape.take()
            && let Some(recorder) = &desk.recorder
        {
            let reply = desk.kept(&bytes);
            recorder.keep(&Exchange { reply, whole, ..exchange });
        }
    }
}

impl hyper::body::Body for Metered {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => self.end(true),
            Poll::Ready(Some(Err(_))) => self.end(false),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    if let Some(meter) = self.meter() {
                        meter.take(data);
                    }
                    if let Some(tape) = &mut self.tape {
                        tape.bytes.extend_from_slice(data);
                    }
                }
                if self.inner.is_end_stream() {
                    self.end(true);
                } else if self.meter().is_some_and(|meter| meter.is_final()) {
                    self.settle();
                }
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Failure::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// Answers as a recording has it: a reply that broke off breaks off again.
pub(super) fn played(kept: &Exchange, workspace: &str) -> Response<Body> {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let reply = kept.reply_in(workspace);
    let mut response = whole(status, &kept.content_type, reply.clone());
    if !kept.whole {
        *response.body_mut() = BrokenOff::After(reply.into()).boxed_unsync();
    }
    response
}

/// A reply that breaks off after what came of it.
enum BrokenOff {
    /// This is still to come.
    After(Bytes),
    /// It came, and is to arrive before the connection breaks.
    OnItsWay,
    /// Nothing more comes.
    Here,
}

impl hyper::body::Body for BrokenOff {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let next = match *self {
            Self::After(_) => Self::OnItsWay,
            Self::OnItsWay | Self::Here => Self::Here,
        };
        match std::mem::replace(&mut *self, next) {
            Self::After(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Self::OnItsWay => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Here => Poll::Ready(Some(Err("the recording breaks off here".into()))),
        }
    }
}
