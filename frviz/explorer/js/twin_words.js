// What stands over the clips of the twin view. Pure.

/**
 * @param {import("./data.js").Data} data
 * @param {number} focus clip number of the chosen clip
 * @param {{role: string, class: number}} clip header of the clip that is named
 */
export function titleOf(data, focus, clip) {
  if (clip.role === "chosen") return `This clip: ${data.name(data.label[focus])}, ${takenFor(data, focus)}`;
  if (clip.role === "true") return `Nearest of its class: ${data.name(clip.class)}`;
  const taken = data.sides.some((side) => data.predicted[side][focus] === clip.class);
  return `Nearest of ${taken ? "" : "the second best, "}${data.name(clip.class)}`;
}

/** "recognised", "taken for reading", "taken for reading by B". */
function takenFor(data, focus) {
  const label = data.label[focus];
  const wrong = data.sides.filter((side) => data.predicted[side][focus] !== label);
  if (!wrong.length) return "recognised";
  const named = wrong.map((side) => data.name(data.predicted[side][focus]));
  const by = (side) => (data.pair ? ` by ${side.toUpperCase()}` : "");
  if (wrong.length === 1) return `taken for ${named[0]}${by(wrong[0])}`;
  return named[0] === named[1] ? `taken for ${named[0]}` : `taken for ${named[0]} by A, ${named[1]} by B`;
}

/**
 * Of a neighbour: which clip, how far in features and in posture, what the model makes of it.
 * @param {import("./data.js").Data} data
 * @param {{id: string, class: number, predicted: number, distance: number|null}} clip
 * @param {{distance: number, yaw: number}} warp
 */
export function noteOf(data, clip, warp) {
  const turned = Math.round((warp.yaw * 180) / Math.PI);
  return [
    clip.id,
    Number.isFinite(clip.distance) ? `features ${clip.distance.toFixed(3)} apart` : "",
    Number.isNaN(warp.distance) ? "" : `postures ${warp.distance.toFixed(2)} apart`,
    Math.abs(turned) < 5 ? "" : `turned ${Math.abs(turned)}\u00B0`,
    clip.predicted === clip.class ? "" : `itself taken for ${data.name(clip.predicted)}`,
  ]
    .filter(Boolean)
    .join(" \u00B7 ");
}
