// The product that lies over the results, where the address names one.

import { showProduct } from "../../product.js";

/** `addressOfProduct` is where what is like it is found, `closed` is called when people close it. */
export function productDialog({ addressOfProduct, closed }) {
  let shown = null;

  function show(id) {
    if ((shown?.id ?? null) === id) return;
    close();
    if (!id) return;
    const node = showProduct(id, {
      similar: addressOfProduct(id),
      closed: () => {
        if (shown?.node !== node) return; // the address has led elsewhere already
        shown = null;
        closed();
      },
    });
    shown = { id, node };
  }

  function close() {
    const before = shown;
    shown = null;
    before?.node.close();
  }

  return { show, close };
}
