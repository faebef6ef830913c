// Starts the explorer in a page without a kernel: unpacks what the page carries and answers for it.
(async () => {
  const section = document.currentScript.parentElement;
  const [place] = section.getElementsByTagName("div");
  const text = new TextDecoder();

  async function part(name) {
    const block = section.querySelector(`script[data-part="${name}"]`);
    const coded = atob(block.textContent);
    const bytes = new Uint8Array(coded.length);
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = coded.charCodeAt(i); // far faster than from()
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // A payload is a mark, the header's length, the header and the arrays (payload_format.py).
  function opened(payload) {
    const start = 8 + new DataView(payload.buffer).getUint32(4, true);
    return { header: JSON.parse(text.decode(payload.subarray(8, start))), start };
  }

  /** The same arrays under another header. */
  function renamed(payload, start, header) {
    let words = JSON.stringify(header);
    const size = () => 8 + new TextEncoder().encode(words).length;
    words += " ".repeat((8 - (size() % 8)) % 8);
    const made = new Uint8Array(size() + payload.length - start);
    made.set(payload.subarray(0, 4));
    new DataView(made.buffer).setUint32(4, size() - 8, true);
    made.set(new TextEncoder().encode(words), 8);
    made.set(payload.subarray(start), size());
    return made;
  }

  /** What the explorer needs of a notebook's widget model. */
  class Model {
    constructor(values, answer) {
      Object.assign(this, { values, answer, heard: new Map() });
    }
    get(name) {
      return this.values[name];
    }
    set(name, value) {
      this.values[name] = value;
      this.tell(`change:${name}`);
    }
    save_changes() {}
    on(event, fn) {
      this.heard.set(event, [...(this.heard.get(event) ?? []), fn]);
    }
    off(event, fn) {
      this.heard.set(event, (this.heard.get(event) ?? []).filter((other) => fn && other !== fn));
    }
    tell(event, ...what) {
      for (const fn of this.heard.get(event) ?? []) fn(...what);
    }
    send(message) {
      const { error = null, buffers = [] } = this.answer(message);
      const reply = { kind: message.kind, request: message.request, payload: !error, error };
      queueMicrotask(() => this.tell("msg:custom", reply, buffers));
    }
  }

  async function start() {
    const [code, payload, details] = await Promise.all(["module", "payload", "details"].map(part));
    const { header } = opened(payload);
    const carried = opened(details);
    const found = new Map(Object.entries(carried.header.details));
    const answer = ({ kind, id, side }) => {
      if (kind !== "details") return { error: "A page holds the maps it was made with: make others in a notebook." };
      if (found.has(id)) {
        const own = found.get(id)[side] ?? found.get(id).a; // B has its own where its rival differs
        const made = renamed(details, carried.start, { ...own, arrays: carried.header.arrays });
        return { buffers: [new DataView(made.buffer)] };
      }
      const count = header.clip_count ?? 0;
      const more = count
        ? `This clip is not carried by this file (${count} of ${header.ids.length} clips are, marked "plays" in the table; to_html(clips=...) carries more).`
        : "This file carries no clips (to_html(clips=...) carries some).";
      return { error: header.missing.clips ?? more };
    };
    const values = { payload: new DataView(payload.buffer), selection: [], anchor: "", cell: [], side: "a" };
    const model = new Model(values, answer);
    section.model = model; // for those who look into the page
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const { default: explorer } = await import(url);
    URL.revokeObjectURL(url);
    await explorer.render({ model, el: place });
  }

  try {
    await start();
  } catch (error) {
    place.textContent = `The explorer cannot be shown here: ${error.message} (It needs a browser of 2023 or newer.)`;
    throw error;
  }
})();
