/** Whether any of the values that are to be set is another than the row has; values are compared as JSON. */
export const differs = <Row extends object>(row: Row, set: Partial<Row>): boolean =>
  Object.entries(set).some(
    ([name, value]) => JSON.stringify(row[name as keyof Row]) !== JSON.stringify(value),
  )
