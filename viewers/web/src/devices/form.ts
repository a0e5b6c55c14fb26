// Is a device entered as it must be, and what is wrong where?
import { ApiError } from "../lib/api";
import type { Words } from "../lib/i18n";
import type { Device, DeviceGiven, RefusedCaller } from "./wire";

/** What stands in the form, as typed. */
export interface Entered {
  site: string;
  ae_title: string;
  called: string;
  host: string;
  port: string;
  modality: string;
  tls: boolean;
  certificate: string;
  returns_reports: boolean;
}
export type FieldName = keyof Entered;
export type Wrong = Partial<Record<FieldName, Words>>;

export const BLANK: Entered = { site: "", ae_title: "", called: "", host: "", port: "", modality: "", tls: false, certificate: "", returns_reports: false };

// PS3.5 table 6.2-1, VR AE
const AE_TITLE = /^[!-[\]-~](?:[ -[\]-~]{0,14}[!-[\]-~])?$/;
export const isAeTitle = (text: string): boolean => AE_TITLE.test(text.trim());

const MODALITY = /^[A-Z0-9_ ]{1,16}$/;

/** 64 hex figures (or "any": one that the gateway trusts), however they were written: "AB:CD:…", in groups, in capitals. */
export const fingerprint = (text: string): string => text.replace(/[\s:.-]/g, "").toLowerCase();

export function entered(device: Device): Entered {
  return {
    ...BLANK, site: device.site.key, ae_title: device.ae_title, called: device.called ?? "", host: device.host ?? "", port: device.port === null ? "" : String(device.port),
    modality: device.modality ?? "", tls: device.tls, certificate: device.certificate ?? "", returns_reports: device.returns_reports,
  };
}

/** How a refused caller is entered to begin with: under the alias it called and with the certificate it showed; with its
 *  address where another Site has the same title, which nothing else would tell apart. */
export function admitted(caller: RefusedCaller, seen: { called: string | null; host: string | null; certificate: string | null }): Entered {
  const certificate = seen.certificate ?? "";
  return {
    ...BLANK, ae_title: caller.calling, called: seen.called ?? "", host: caller.known_at.length > 0 && certificate === "" ? (seen.host ?? "") : "",
    tls: certificate !== "", certificate,
  };
}

/** What the server is given. Only for what `wrongs` finds nothing in. */
export function given(one: Entered): DeviceGiven {
  const said = (text: string): string | null => text.trim() || null;
  return {
    site: one.site, ae_title: one.ae_title.trim(), called: said(one.called), host: said(one.host), port: one.port.trim() === "" ? null : Number(one.port),
    modality: said(one.modality.toUpperCase()), tls: one.tls, certificate: one.certificate.trim() === "" ? null : fingerprint(one.certificate), returns_reports: one.returns_reports,
  };
}

const WORDS = {
  site: ["选一个机构", "Choose a site"],
  ae_title: ["1 到 16 个英文字符，不能有反斜杠", "1 to 16 ASCII characters, no backslash"],
  host: ["写一个 IP 地址或主机名", "Give an IP address or a host name"],
  host_missing: ["有端口就要有地址", "A port needs an address"],
  return_address: ["回传报告要有地址和端口", "Returning reports needs address and port"],
  port: ["1 到 65535 之间的数", "A number from 1 to 65535"],
  modality: ["如 ECG、CT、DX", "Such as ECG, CT, DX"],
  certificate: ["SHA-256 指纹是 64 个十六进制字符；或写 any", "A SHA-256 fingerprint has 64 hex figures; or write any"],
  certificate_tls: ["要求证书就要求 TLS", "A certificate needs TLS"],
  exists: ["已有这样的设备，或另一机构用同名：请写被叫别名、地址或证书以区分", "There is such a device, or another site has this title: a called alias, address or certificate must tell them apart"],
} as const satisfies Record<string, Words>;

const HOST = /^[0-9A-Za-z](?:[0-9A-Za-z.:_-]{0,253}[0-9A-Za-z])?$|^::[0-9A-Fa-f:.]*$/;

/** Everything that is wrong, by field; empty when it may be sent. */
export function wrongs(one: Entered): Wrong {
  const wrong: Wrong = {};
  if (one.site === "") wrong.site = WORDS.site;
  if (!isAeTitle(one.ae_title)) wrong.ae_title = WORDS.ae_title;
  if (one.called.trim() !== "" && !isAeTitle(one.called)) wrong.called = WORDS.ae_title;
  if (one.host.trim() !== "" && !HOST.test(one.host.trim())) wrong.host = WORDS.host;
  const port = one.port.trim();
  if (port !== "" && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65535)) wrong.port = WORDS.port;
  else if (port !== "" && one.host.trim() === "") wrong.host = WORDS.host_missing;
  if (one.returns_reports && port === "") wrong.port ??= WORDS.return_address;
  if (one.modality.trim() !== "" && !MODALITY.test(one.modality.trim().toUpperCase())) wrong.modality = WORDS.modality;
  if (one.certificate.trim() !== "") {
    if (!/^(?:[0-9a-f]{64}|any)$/.test(fingerprint(one.certificate))) wrong.certificate = WORDS.certificate;
    else if (!one.tls) wrong.tls = WORDS.certificate_tls;
  }
  return wrong;
}

/** Where a refusal of the server belongs; null when to no field. */
export function refusedWhere(error: unknown): Wrong | null {
  if (!(error instanceof ApiError)) return null;
  if (error.code === "already_exists") return { ae_title: WORDS.exists };
  const field = error.details.field;
  if (typeof field !== "string" || !Object.keys(BLANK).includes(field)) return null;
  const words = (WORDS as Record<string, Words>)[field];
  return { [field]: words ?? [error.message, error.message] };
}
