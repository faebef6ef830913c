// Names as they are shown: what cannot be seen, or turns the writing around, becomes visible. Pure.

// Control characters and those that turn the direction of writing, as in Python's `display.plain`
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text on one line, such characters as "?". Only what is drawn: classes and ids stay keys. */
export const plain = (text) => String(text).replace(UNSAFE, "?");
