// What stands in for xmlbuilder2? (A dependency of vtk.js that no page of ours reaches.)
export const create = (): never => {
  throw new Error("XML is not written in the browser");
};
