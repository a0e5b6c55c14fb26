// Which devices stand under which site, and what does a search find?
import type { SiteName } from "../lib/api";
import type { Device } from "./wire";

export interface Group {
  site: SiteName;
  devices: Device[];
}

/** Devices under their sites: sites by name as they are read, devices by AE Title. */
export function bySite(devices: readonly Device[]): Group[] {
  const groups = new Map<string, Group>();
  for (const one of devices) {
    const group = groups.get(one.site.key) ?? { site: one.site, devices: [] };
    group.devices.push(one);
    groups.set(one.site.key, group);
  }
  for (const group of groups.values()) group.devices.sort((a, b) => a.ae_title.localeCompare(b.ae_title) || a.id - b.id);
  return [...groups.values()].sort((a, b) => a.site.name.localeCompare(b.site.name, "zh-CN") || a.site.key.localeCompare(b.site.key));
}

/** Does any of the texts hold every typed word? */
export function finds(typed: string, ...texts: (string | null | undefined)[]): boolean {
  const all = texts.filter((text) => text !== null && text !== undefined).join(" ").toLowerCase();
  return typed.trim().toLowerCase().split(/\s+/).every((word) => all.includes(word));
}
