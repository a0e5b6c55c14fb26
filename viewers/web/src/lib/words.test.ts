// Are codes said in words people use?
import { describe, expect, it } from "vitest";
import { ageWord, siteShort } from "./words";

describe("age", () => {
  it("is a bare figure for grown-ups and has its unit for children", () => {
    expect(ageWord("067Y")).toBe("67");
    expect(ageWord("004Y")).toBe("4 岁");
    expect(ageWord("4M")).toBe("4 个月");
    expect(ageWord("003W")).toBe("3 周");
    expect(ageWord("000D")).toBe("0 天");
  });
  it("says when it is not known", () => {
    expect(ageWord(null)).toBe("年龄不详");
    expect(ageWord("Y")).toBe("年龄不详");
  });
});

describe("sites in a list", () => {
  it("leave the kind of house out, but never everything", () => {
    expect(siteShort({ name: "张易镇卫生院", name_en: "Zhangyi Health Center" })).toBe("张易镇");
    expect(siteShort({ name: "城东社区卫生服务中心", name_en: "" })).toBe("城东");
    expect(siteShort({ name: "卫生院", name_en: "" })).toBe("卫生院");
    expect(siteShort({ name: "第二医院", name_en: "" })).toBe("第二医院");
  });
});
