// Is a device entered as DICOM wants it, do rows keep their place, and do figures read right?
import { describe, expect, it } from "vitest";
import { ApiError } from "../lib/api";
import { speak } from "../lib/i18n";
import { admitted, BLANK, entered, fingerprint, given, isAeTitle, refusedWhere, wrongs, type Entered } from "./form";
import { held } from "./held";
import { bySite, finds } from "./rows";
import type { Device, RefusedCaller } from "./wire";
import { address, bytes, reasonWord, short, whyBrief } from "./wording";

const storage = new Map<string, string>();
Object.assign(globalThis, { localStorage: { getItem: (key: string) => storage.get(key) ?? null, setItem: (key: string, value: string) => storage.set(key, value) } });

const HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const typed = (more: Partial<Entered> = {}): Entered => ({ ...BLANK, site: "c1", ae_title: "CT_1", ...more });
const site = (key: string, name: string) => ({ key, name, name_en: `Center ${key}` });
const device = (id: number, more: Partial<Device> = {}): Device => ({
  id, site: site("c1", "东街"), ae_title: `D${id}`, called: null, host: null, port: null, modality: null, tls: false, certificate: null, returns_reports: false,
  one_per_image: false, last_seen_at: null, studies_today: 0, instances_today: 0, ...more,
});
const caller = (more: Partial<RefusedCaller> = {}): RefusedCaller => ({
  id: "a", calling: "CT_1", called: "TELEREAD", address: "10.0.0.7", certificate: null, why: "unknown_caller", times: 1, first_at: "", last_at: "", known_at: [], ...more,
});

describe("an AE Title", () => {
  it.each(["A", "CT 1", "SIXTEEN_LETTERS_", "x!~[]"])("%s is one", (title) => expect(isAeTitle(title)).toBe(true));
  it.each(["", "   ", "SEVENTEEN_LETTERS", "back\\slash", "中文", "a\tb"])("%j is none", (title) => expect(isAeTitle(title)).toBe(false));
});

describe("what is entered", () => {
  it("needs no more than site and title", () => expect(wrongs(typed())).toEqual({}));
  it.each<[keyof Entered, Partial<Entered>]>([
    ["site", { site: "" }], ["ae_title", { ae_title: "" }], ["called", { called: "a\\b" }], ["host", { host: "a b" }], ["host", { port: "104" }],
    ["tls", { certificate: "any" }], ["port", { host: "h", port: "0" }], ["port", { host: "h", port: "65536" }], ["port", { host: "h", port: "1e3" }], ["port", { returns_reports: true, host: "h" }],
    ["modality", { modality: "心电" }], ["certificate", { certificate: "abc", tls: true }], ["tls", { certificate: HEX }],
  ])("finds what is wrong in %s", (field, more) => expect(Object.keys(wrongs(typed(more)))).toEqual([field]));
  it.each(["10.0.0.7", "2001:db8::1", "::1", "pacs-1.hospital.cn"])("takes the address %s", (host) => expect(wrongs(typed({ host, port: "104" }))).toEqual({}));
  it("is sent without blanks, fingerprints as 64 small figures", () => {
    const colons = HEX.toUpperCase().match(/../g)!.join(":");
    expect(fingerprint(colons)).toBe(HEX);
    expect(given(typed({ ae_title: " CT_1 ", host: " h ", port: "104", modality: "ct", tls: true, certificate: colons })))
      .toEqual({ site: "c1", ae_title: "CT_1", called: null, host: "h", port: 104, modality: "CT", tls: true, certificate: HEX, returns_reports: false });
  });
  it("comes back as it was", () => {
    const one = device(1, { host: "h", port: 104, called: "ALIAS" });
    expect(given(entered(one))).toMatchObject({ site: "c1", ae_title: "D1", host: "h", port: 104, called: "ALIAS" });
  });
});

describe("a refused caller", () => {
  const nothing = { called: null, host: "10.0.0.7", certificate: null };
  it("is entered under its title, for no site yet, from anywhere", () => expect(admitted(caller(), nothing)).toEqual({ ...BLANK, ae_title: "CT_1" }));
  it("is told apart by its address where another site has the title", () => expect(admitted(caller({ known_at: [site("c2", "西街")] }), nothing).host).toBe("10.0.0.7"));
  it("keeps its alias and its certificate", () => {
    expect(admitted(caller(), { ...nothing, called: "ALIAS", certificate: HEX })).toMatchObject({ called: "ALIAS", certificate: HEX, tls: true, host: "" });
  });
});

describe("a refusal of the server", () => {
  it("stands at its field", () => expect(Object.keys(refusedWhere(new ApiError(422, "invalid_value", "no", { field: "port" }))!)).toEqual(["port"]));
  it("of a second device stands at the title", () => expect(Object.keys(refusedWhere(new ApiError(409, "already_exists", "no"))!)).toEqual(["ae_title"]));
  it("of something else at none", () => expect(refusedWhere(new ApiError(403, "not_allowed", "no", { field: "__proto__" }))).toBeNull());
});

describe("rows", () => {
  const rows = (...ids: string[]) => ids.map((id) => ({ id, n: 1 }));
  it("follow the server while nobody points at them", () => expect(held(rows("a"), rows("b", "a"), false)).toEqual({ shown: rows("b", "a"), waiting: [] }));
  it("keep their place under a pointer, in their newest form; new ones wait", () => {
    const fresh = [{ id: "c", n: 1 }, { id: "b", n: 2 }, { id: "a", n: 5 }];
    expect(held(rows("a", "b", "gone"), fresh, true)).toEqual({ shown: [{ id: "a", n: 5 }, { id: "b", n: 2 }], waiting: [{ id: "c", n: 1 }] });
  });
  it("stand under their site, by title", () => {
    const groups = bySite([device(2), device(3, { site: site("c2", "西街") }), device(1)]);
    expect(groups.map((group) => [group.site.key, group.devices.map((one) => one.ae_title)])).toEqual([["c1", ["D1", "D2"]], ["c2", ["D3"]]]);
  });
  it("are found by every word", () => {
    expect(finds("10.0 ct", "CT_1", null, "10.0.0.7")).toBe(true);
    expect(finds("10.0 dx", "CT_1", "10.0.0.7")).toBe(false);
    expect(finds(" ", "CT_1")).toBe(true);
  });
});

describe("words", () => {
  it.each([[0, "0 B"], [999, "999 B"], [1500, "1.5 KB"], [123_456_789, "123 MB"], [4_200_000_000, "4.2 GB"]])("%i bytes are %s", (count, said) => expect(bytes(count)).toBe(said));
  it("give an address and a fingerprint room", () => {
    expect([address("10.0.0.7", 104), address("::1", 104), address("h", null)]).toEqual(["10.0.0.7:104", "[::1]:104", "h"]);
    expect(short(HEX)).toBe("9f86 d081…0a08");
  });
  it("say why in both languages, and what they do not know as it is", () => {
    const said = "CT_1 cannot be reached at 10.0.0.7:104 (Connection refused).";
    speak("zh");
    expect([whyBrief("unknown_caller"), reasonWord(said), reasonWord("new"), whyBrief("new")]).toEqual(["主叫 AE 未登记", "连不上 10.0.0.7:104（Connection refused）", "new", "new"]);
    speak("en");
    expect([whyBrief("unknown_caller"), reasonWord(said)]).toEqual(["Calling AE Title unknown", said]);
  });
});
