// Pictures of the gateway, loaded when they come near and let go of in the end.

import { call, hasKey } from "./calls.js";

/** Loads pictures when they come near; with a key they are fetched, because an image cannot show one. */
export const near = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    load(target, target.dataset.from);
  }
}, { rootMargin: "600px", scrollMargin: "600px" });

export async function load(image, path) {
  image.dataset.from = path;
  if (!hasKey()) {
    image.src = path;
    return;
  }
  const blob = await call(path).then(response => response.blob(), () => null);
  if (image.dataset.from !== path) return;
  release(image);
  if (blob) image.src = URL.createObjectURL(blob);
}

/** Let go of an image's picture: it is not loaded any more, nor shown when it comes after all. */
export function forget(image) {
  near.unobserve(image);
  release(image);
  delete image.dataset.from;
  image.removeAttribute("src");
}

function release(image) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
}
