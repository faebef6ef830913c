// The player that stands alone: a payload of kind "player" as a deck.

import { clipsOf } from "./clip.js";
import { PlayerDeck } from "./deck.js";

/**
 * @param {HTMLElement} root
 * @param {{header: any, arrays: Record<string, Int16Array>}} payload of kind "player"
 * @returns {() => void} takes it down
 */
export function deckOf(root, payload) {
  const { skeleton, fps } = payload.header;
  const items = clipsOf(payload).map(({ clip }) => ({ clip, title: clip.title }));
  const deck = new PlayerDeck(items, skeleton, { fps });
  root.append(deck.el);
  return () => deck.destroy();
}
