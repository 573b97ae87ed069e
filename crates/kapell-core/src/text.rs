//! What is to be known of characters before a text of others is shown, or given to a model.

/// Tells whether a terminal or a reader could be misled by a character.
///
/// These are the control characters C0, DEL and C1; the controls of writing direction (Boucher and Anderson, "Trojan
/// Source", 2021); line separators; and what has no width, so that nobody sees that it is there. The selectors of
/// text and emoji style (U+FE0E, U+FE0F) are let through.
#[must_use]
pub fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}
