// Tests and intervals of counts. Pure.

const Z = 1.959963984540054; // 95 % of a normal distribution lie within so many standard errors

/**
 * 95 % interval of a share (Wilson, 1927), as Python's `wilson`.
 * @param {number} share of the clips that are right; the mean of several runs
 * @param {number} clips
 * @returns {[number, number]|null} null where there is no share
 */
export function wilson(share, clips) {
  if (!(clips > 0) || !Number.isFinite(share)) return null;
  const step = Z ** 2 / clips;
  const middle = (share + step / 2) / (1 + step);
  const half = Math.sqrt((share * (1 - share)) * step + step ** 2 / 4) / (1 + step);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/**
 * Two-sided exact McNemar test: a fair coin, thrown for each clip that only one of the models has.
 * @param {number} a
 * @param {number} b
 */
export function mcnemarP(a, b) {
  const n = a + b;
  let term = -n * Math.LN2; // log of C(n, 0) / 2^n
  let total = 0;
  for (let k = 0; k <= Math.min(a, b); k += 1) {
    total += Math.exp(term);
    term += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * total);
}
