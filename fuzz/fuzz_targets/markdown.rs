//! The reader of agents, commands and skills: every place is one of the text.
#![no_main]

use kapell_spec::{
    claude::{definition::Definition, hooks, plugin, reference, steps},
    finding::Span,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let check = |span: Span| assert!(text.get(span.range()).is_some(), "{span:?} is no place of the text");
    let definition = Definition::read(text);
    let document = &definition.document;
    document.headings.iter().for_each(|heading| check(heading.span));
    document.fences.iter().for_each(|fence| check(fence.span));
    document.marks.iter().for_each(|mark| check(mark.span));
    if let Some(front) = &definition.front {
        check(front.span);
        front.fields.iter().for_each(|field| check(field.key.span));
        front.fields.iter().flat_map(|field| &field.items).for_each(|item| check(item.span));
    }
    let references = reference::references(text, &definition);
    for reference in &references {
        check(reference.span);
        assert_eq!(&text[reference.span.range()], reference.name);
        let _ = reference::has_fallback(text, reference.span.start);
    }
    let flow = steps::flow_of(text, &definition, &references);
    flow.steps.iter().for_each(|step| check(step.span));
    let _ = hooks::read(text);
    let _ = plugin::manifest(text);
});
