// Uppy and its tus plugin as they are, kept from the compiler: their types bring those of a browser with them, for every file of the project.
export { Uppy } from "@uppy/core"
export { default as Tus } from "@uppy/tus"
