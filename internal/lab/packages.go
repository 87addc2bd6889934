package lab

const serverPackage = "mariadb-server-core"
