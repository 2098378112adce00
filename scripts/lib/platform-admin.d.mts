/** What is said to D1 to make a platform administrator; each statement ends with a semicolon and a line end. */
export function platformAdminSql(email: string, password: string, newId: (ms: number) => string): string
