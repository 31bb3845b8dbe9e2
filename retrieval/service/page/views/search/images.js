// Images that people give. They stay in the memory of this page; an address only holds their name.

const given = new Map();

/** Keep an image; what it is called in the address. */
export function keepImage(file) {
  const name = `${given.size + 1}-${file.name || "pasted"}`;
  given.set(name, { file, url: URL.createObjectURL(file), label: file.name || "pasted image" });
  return name;
}

/** An image by its name in the address; undefined after the page was loaded anew. */
export function imageCalled(name) {
  return given.get(name);
}

/** The first image among what was dropped or pasted, or chosen. */
export function imageAmong(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));
}

/** Take images that are dropped anywhere or pasted; returns what ends it. */
export function takeImages(main, take) {
  const ending = new AbortController();
  const on = (type, listener) => addEventListener(type, listener, { signal: ending.signal });
  const mark = (isOver) => main.classList.toggle("is-dropping", isOver);
  on("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    mark(true);
  });
  on("dragleave", (event) => event.relatedTarget === null && mark(false));
  on("drop", (event) => {
    event.preventDefault(); // a browser would leave the page for the file
    mark(false);
    take(imageAmong(event.dataTransfer));
  });
  on("paste", (event) => {
    const file = imageAmong(event.clipboardData);
    if (file) take(file);
  });
  return () => ending.abort();
}
