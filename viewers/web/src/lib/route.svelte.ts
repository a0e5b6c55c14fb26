// Which page is shown, and how does one go to another without a reload?
class Route {
  path = $state(location.pathname);
  search = $state(location.search);
}

/** The address in use. Reactive. */
export const route = new Route();

function read(): void {
  route.path = location.pathname;
  route.search = location.search;
}
addEventListener("popstate", read);

/** Go to a path of this site ("/read/7"). `replace` leaves no step behind in the history. */
export function go(path: string, options: { replace?: boolean } = {}): void {
  if (path === location.pathname + location.search) return;
  if (options.replace === true) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  read();
}

/** Make plain links stay in the page. Attach once to the root. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest("a");
  if (link === null || link === undefined || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.pathname.startsWith("/api/") || link.getAttribute("href")?.startsWith("#") === true) return;
  event.preventDefault();
  go(link.pathname + link.search);
}
