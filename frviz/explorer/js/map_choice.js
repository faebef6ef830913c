// Which map: a space, where there are several, and how it is laid out.

import { dropdown } from "./dom.js";

export const METHOD = { tsne: "t-SNE", umap: "UMAP", pca: "PCA", pacmap: "PaCMAP" };

/**
 * @param {{space: string, method: string}[]} maps that there are or that can be asked for
 * @param {{space: string, method: string} | undefined} shown the map that is shown; none yet
 * @param {(key: string) => void} choose is told a map's key, "space/method"
 * @returns {HTMLElement[]} controls
 */
export function mapChoice(maps, shown, choose) {
  const spaces = [...new Set(maps.map((map) => map.space))];
  let [space, method] = [shown?.space ?? spaces[0], shown?.method ?? ""];
  const methods = () => methodsOf(maps, space).map((name) => ({ value: name, text: METHOD[name] ?? name }));
  const ask = () => method && choose(`${space}/${method}`);
  const none = shown ? [] : [{ value: "", text: "none" }];
  const layout = dropdown("map", [...none, ...methods()], method, (name) => ((method = name), ask()));
  if (spaces.length < 2) return [layout];

  const chooseSpace = (name) => {
    space = name;
    method = nextMethod(maps, space, method);
    layout.offer(methods(), method);
    ask();
  };
  return [dropdown("space", spaces.map((name) => ({ value: name, text: name })), space, chooseSpace), layout];
}

/** The methods of a space, each once. */
function methodsOf(maps, space) {
  return [...new Set(maps.filter((map) => map.space === space).map((map) => map.method))];
}

/** The method to go on with in another space: the same one where it is there. */
export function nextMethod(maps, space, method) {
  const there = methodsOf(maps, space);
  return there.includes(method) ? method : there[0];
}
