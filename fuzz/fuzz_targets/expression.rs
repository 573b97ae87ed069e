//! The readers of expressions, of texts that hold some, and of shell scripts.
#![no_main]

use kapell_core::expr::{Expr, Template};
use kapell_lint::github::script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(expression) = Expr::parse(text) {
        let again = Expr::parse(expression.source()).expect("what was read once is read again");
        assert_eq!(again.root(), expression.root());
        let _ = expression.asks_status();
    }
    let _ = Template::parse(text);
    let _ = script::commands(text);
});
