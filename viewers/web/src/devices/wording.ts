// What do people call what the DICOM edge says in codes and figures?
import { t, type Words, say } from "../lib/i18n";
import type { TestLine } from "./wire";

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** "0 B", "940 KB", "1.2 GB": decimal units, as networks count. */
export function bytes(count: number): string {
  let left = count;
  let unit = 0;
  while (left >= 1000 && unit < UNITS.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${unit === 0 || left >= 100 ? Math.round(left) : left.toFixed(1)} ${UNITS[unit]}`;
}

/** The beginning of a fingerprint, enough to compare by eye. */
export const short = (fingerprint: string): string => `${fingerprint.slice(0, 4)} ${fingerprint.slice(4, 8)}…${fingerprint.slice(-4)}`;

/** All of it in groups of four. */
export const grouped = (fingerprint: string): string => fingerprint === "any" ? t("任何受信任的证书", "any that is trusted") : fingerprint.match(/.{1,4}/g)?.join(" ") ?? "";

/** "10.1.2.3:104", "[2001:db8::1]:104". */
export const address = (host: string, port: number | null): string => (port === null ? host : `${host.includes(":") ? `[${host}]` : host}:${port}`);

interface Why {
  /** In the list: a few words. */
  brief: Words;
  /** In the panel: what it means and what mends it. */
  whole: Words;
}
const WHYS: Record<string, Why> = {
  unknown_caller: {
    brief: ["主叫 AE 未登记", "Calling AE Title unknown"],
    whole: ["这台设备没有登记，或只登记了别的地址、别名或证书。确认它是谁以后，再接纳。", "No device here is registered this way: title unknown, or known only from another address, alias or certificate. Admit it once you know what it is."],
  },
  ambiguous_caller: {
    brief: ["几个机构同名，分不清", "Several sites share the title"],
    whole: ["几个机构登记了同一主叫 AE，没有什么能区分。接纳时写上地址、别名或证书。", "Several sites own this calling AE Title and nothing tells them apart. Admit it with its address, alias or certificate."],
  },
  unknown_called: {
    brief: ["被叫 AE 不是本网关", "Wrong called AE Title"],
    whole: ["设备呼叫的不是本网关的 AE。在设备上改被叫 AE，或接纳为别名。", "The device calls a title that is not ours. Correct the called AE Title on the device, or admit it under this alias."],
  },
  tls_required: {
    brief: ["必须用 TLS", "Must come over TLS"],
    whole: ["登记要求 TLS，它却用明文连接。在设备上打开 TLS，或改登记。", "Its registration asks for TLS, but it came in the clear. Switch TLS on at the device, or change the registration."],
  },
};

export const whyBrief = (why: string): string => (WHYS[why] === undefined ? why : say(WHYS[why].brief));
export const whyWhole = (why: string): string => (WHYS[why] === undefined ? t("没有让它进来。", "It was not let in.") : say(WHYS[why].whole));

const STATES: Record<string, Words> = {
  idle: ["空闲", "Idle"], receiving: ["正在接收", "Receiving"], serving: ["正在应答", "Answering"],
};
export const stateWord = (state: string): string => (STATES[state] === undefined ? state : say(STATES[state]));

const KINDS: Record<string, Words> = {
  commitment: ["存储确认", "Storage commitment"], report: ["回传报告", "Report return"],
};
export const kindWord = (kind: string): string => (KINDS[kind] === undefined ? kind : say(KINDS[kind]));

/** The beginnings of what the gateway says when it could not call a device, as a Chinese engineer would say it. */
const SAID: readonly (readonly [RegExp, string])[] = [
  [/^unreachable$/, "连不上设备"],
  [/cannot be reached at (\S+) \((.*?)\)/, "连不上 $1（$2）"],
  [/does not answer at (\S+) within (\d+) s/, "$1 在 $2 秒内没有应答"],
  [/has a host that cannot be found: (\S+?)\.?$/, "找不到主机 $1"],
  [/does not speak TLS with us at (\S+)/, "与 $1 的 TLS 握手失败"],
  [/certificate that is not trusted/, "设备的证书不受信任"],
  [/rejects the association: it does not know our AE Title (\S+?)\.?$/, "设备不认识我们的 AE $1"],
  [/rejects the association: it does not answer to the AE Title (\S+?)\.?$/, "设备的 AE 不是 $1"],
  [/rejects the association: it is busy|it has too many associations/, "设备正忙，拒绝了连接"],
  [/rejects the association/, "设备拒绝了连接"],
  [/aborts instead of answering/, "设备中断了连接"],
  [/accepts none of what was proposed/, "设备不收这种对象，或没有按 DICOM 应答"],
  [/does not answer to the/, "设备没有应答"],
  [/answers ([0-9A-F]{4}) to the/, "设备回答 $1"],
  [/takes no such instance/, "设备不收这种对象"],
  [/it has no host and port/, "没有登记地址和端口，不会呼叫它"],
  [/takes no images; nothing was sent/, "设备不收图像，没有发送"],
  [/has kept a test object/, "设备存下了测试对象"],
  [/^(\S+) answers at (\S+) over TLS/, "$1 在 $2 经 TLS 应答"],
  [/^(\S+) answers at (\S+)/, "$1 在 $2 应答"],
  [/^listens at (\S+)/, "在 $1 监听"],
  [/^no gateway answers at (\S+?)\. /, "$1 没有应答，网关没有在监听"],
  [/^it would be rejected: (\w+)/, "会被拒绝（$1）"],
  [/^another registration of this title would be taken/, "会被当成另一条登记"],
  [/^no report came within (\d+) s/, "$1 秒内没有收到确认"],
  [/^this failed here; it has been noted/, "这里出错了，已记录"],
  [/^(\S+) is admitted for site (\S+)/, "$1 可以进来，归机构 $2"],
  [/^answers, (\d+) scheduled for (\S+)/, "应答正常，$2 有 $1 项待做"],
  [/asked about an unknown instance, it says so/, "问到不存在的对象，答得正确"],
  [/calls over TLS with its own key/, "它用自己的证书经 TLS 呼叫，别人不能代它试"],
];

/** What the gateway said, in the language in use; what has no Chinese yet stays as it is. */
export function reasonWord(said: string): string {
  const found = SAID.find(([pattern]) => pattern.test(said));
  if (said === "unreachable") return t("连不上设备", "The device cannot be reached");
  return found === undefined ? said : t(said.match(found[0])![0].replace(found[0], found[1]), said);
}

const STEPS: Record<string, Words> = {
  echo: ["C-ECHO", "C-ECHO"], store: ["发测试对象", "Store"], gateway: ["网关", "Gateway"], "our echo": ["它呼叫我们", "Calling us"], "our worklist": ["工作列表", "Worklist"],
  "our commitment": ["存储确认", "Commitment"], "our association": ["它呼叫我们", "Calling us"],
};
export const stepWord = (line: TestLine): string => (STEPS[line.step] === undefined ? line.step : say(STEPS[line.step]!));
