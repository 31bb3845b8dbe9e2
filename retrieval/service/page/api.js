// Requests to the service.

const TOKEN = "token";

/** JSON of a request; throws an Error whose message is what the service says. */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  headers.set("X-Requested-With", "product-search");
  const answer = await fetch(path, { ...options, headers });
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(content?.detail ?? `${answer.status} ${answer.statusText}`);
  return content;
}

/** JSON of a request that sends an object. */
export function post(path, object) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(object),
  });
}
